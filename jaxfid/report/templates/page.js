"use strict";
(() => {
  const body = document.querySelector("#scores tbody");
  const heads = [...document.querySelectorAll("#scores thead th")];
  const tip = document.getElementById("tip");

  const keyOf = (row, column) => row.children[column]?.dataset.key;

  const compare = (a, b) => {
    // What has no value comes last in either direction, and never reaches this function.
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, undefined, { numeric: true }) : x - y;
  };

  const sort = (column, direction) => {
    const rows = [...body.rows];
    const known = rows.filter((row) => keyOf(row, column));
    const unknown = rows.filter((row) => !keyOf(row, column));
    known.sort((a, b) => direction * compare(keyOf(a, column), keyOf(b, column)));
    body.append(...known, ...unknown);
    heads.forEach((head, i) => {
      if (i === column) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
  };

  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      sort(column, head.getAttribute("aria-sort") === "ascending" ? -1 : 1);
    });
  });

  const light = (id, on) => document.getElementById(id)?.classList.toggle("lit", on);

  document.querySelectorAll(".charts figure").forEach((figure) => {
    const metric = figure.dataset.metric;
    figure.querySelectorAll(`g[id^="${metric}-row"]`).forEach((point) => {
      const row = point.id.slice(metric.length + 1);
      const cell = document.querySelector(`#${row} [data-metric="${metric}"]`);
      const name = document.querySelector(`#${row} th`).textContent.trim();
      const show = () => {
        tip.textContent = `${name}\n${cell.textContent.trim()}`;
        tip.hidden = false;
        const at = point.getBoundingClientRect();
        const left = at.left + at.width / 2 - tip.offsetWidth / 2;
        tip.style.left = `${Math.max(4, Math.min(left, innerWidth - tip.offsetWidth - 4))}px`;
        tip.style.top = `${Math.max(4, at.top - tip.offsetHeight)}px`;
        light(row, true);
      };
      const hide = () => {
        tip.hidden = true;
        light(row, false);
      };
      point.addEventListener("pointerenter", show);
      point.addEventListener("pointerleave", hide);
    });
  });
})();
