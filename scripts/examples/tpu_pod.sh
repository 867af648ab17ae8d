#!/bin/bash
# FID of two sets of images on a TPU pod slice, from a machine with gcloud:
#
#     scripts/examples/tpu_pod.sh TPU_NAME ZONE REFERENCE GENERATED [more options of `jaxfid score`]
#
# The same command runs on every host of the slice; each sees its own chips and reads its own share. The
# paths, and the folder of --resume, lie on a disk that all hosts have mounted (Filestore or a bucket). After
# a preemption, start the slice again and run this once more: it goes on where it was. JAXFID says what
# pip installs, RESUME where the progress is kept.
set -euo pipefail
tpu=$1 zone=$2
shift 2

on_every_host() {
    gcloud compute tpus tpu-vm ssh "$tpu" --zone "$zone" --worker=all --command "$1"
}

on_every_host "python3 -m venv jaxfid-env && jaxfid-env/bin/pip install --quiet '${JAXFID:-jaxfid[tpu]}'"
on_every_host "jaxfid-env/bin/jaxfid score ${*@Q} --distributed --resume ${RESUME:-/mnt/shared/jaxfid-resume}"
