#!/bin/bash
# FID of two sets of images, or a comparison of checkpoints, on a TPU pod slice, from a machine with gcloud:
#
#     scripts/examples/tpu_pod.sh TPU_NAME ZONE score gs://BUCKET/reference.npz gs://BUCKET/samples.zip \
#         --resume gs://BUCKET/progress/
#     scripts/examples/tpu_pod.sh TPU_NAME ZONE compare gs://BUCKET/reference.npz \
#         --sampler my_model:make_sample --sampler-placement global \
#         --checkpoints gs://BUCKET/training/ --out gs://BUCKET/comparison/
#
# The same command runs on every host of the slice; each sees its own chips and reads its own share. All
# paths are those of a bucket, or of a disk that all hosts have mounted. After a preemption, start the slice
# again and run this once more: it goes on where it was. JAXFID says what pip installs: add the package of
# your sampler.
set -euo pipefail
tpu=$1 zone=$2
shift 2

on_every_host() {
    gcloud compute tpus tpu-vm ssh "$tpu" --zone "$zone" --worker=all --command "$1"
}

on_every_host "python3 -m venv jaxfid-env && jaxfid-env/bin/pip install --quiet '${JAXFID:-jaxfid[tpu,gcs]}'"
on_every_host "jaxfid-env/bin/jaxfid ${*@Q} --distributed"
