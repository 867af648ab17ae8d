"use strict";
(() => {
  const body = document.querySelector("#scores tbody");
  const heads = [...document.querySelectorAll("#scores thead th")];
  const tip = document.getElementById("tip");

  // Sorting by any column.

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

  // The point of a curve shows its value, and its row lights up.

  const light = (id, on) => document.getElementById(id)?.classList.toggle("lit", on);

  document.querySelectorAll(".charts figure").forEach((figure) => {
    const { chart, column } = figure.dataset;
    figure.querySelectorAll(`g[id^="${chart}-row"]`).forEach((point) => {
      const row = point.id.slice(chart.length + 1);
      const cell = document.querySelector(`#${row} [data-column="${column}"]`);
      const name = document.querySelector(`#${row} th`).dataset.key;
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

  // A click enlarges a picture; another one, or Escape, closes it.

  const large = document.getElementById("large");
  document.addEventListener("click", (event) => {
    const image = event.target.closest(".zoom")?.querySelector("img");
    if (large.open) large.close();
    else if (image) {
      const words = document.createElement("p");
      words.textContent = image.alt;
      large.replaceChildren(image.cloneNode(), words);
      large.showModal();
    }
  });

  // Two checkpoints side by side.

  const pairs = document.getElementById("pairs");
  const sides = ["left", "right"].map((id) => document.getElementById(id));

  const showPairs = () => {
    const rows = sides.map((side) => document.querySelector(`#samples [data-row="${side.value}"]`));
    const scores = sides.map((side) => document.getElementById(side.value));
    pairs.replaceChildren(
      ...rows.map((row, i) => {
        const figure = document.createElement("figure");
        const caption = document.createElement("figcaption");
        const values = [...scores[i].querySelectorAll("[data-column]")].map((cell) => {
          const head = heads[[...cell.parentNode.children].indexOf(cell)].textContent.trim();
          return `${head} ${cell.textContent.trim() || "none"}`;
        });
        caption.textContent = [row.querySelector("th").textContent.trim(), ...values].join(", ");
        const images = document.createElement("div");
        images.append(...[...row.querySelectorAll(".zoom")].map((button) => button.cloneNode(true)));
        figure.append(caption, images);
        return figure;
      }),
    );
  };

  if (pairs) {
    sides.forEach((side) => side.addEventListener("change", showPairs));
    showPairs();
  }

  // On paper nothing opens.
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((details) => (details.open = true));
  });
})();
