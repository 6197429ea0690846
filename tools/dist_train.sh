#!/usr/bin/env bash
# Train in several processes: tools/dist_train.sh CONFIG GPUS [options of `ltcls train`]
#
# One process a GPU; on a machine without GPUs, GPUS processes on its processors (gloo).
# Several machines: the same command on each, with
#   NNODES       number of machines (1)
#   NODE_RANK    number of this one, from 0
#   MASTER_ADDR  address of machine 0 (127.0.0.1)
#   PORT         a free port there (29500)
# PYTHON names another interpreter, OMP_NUM_THREADS the threads of each process (1).
set -euo pipefail

if [[ $# -lt 2 || ! $2 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: tools/dist_train.sh CONFIG GPUS [options of 'ltcls train']" >&2
    exit 2
fi
config=$1
processes=$2
shift 2
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MKL_NUM_THREADS=${MKL_NUM_THREADS:-1}
nodes=${NNODES:-1}
if [[ $nodes == 1 && -z ${PORT:-} ]]; then
    meeting=(--standalone)            # torchrun finds a free port by itself
else
    meeting=(--node_rank "${NODE_RANK:-0}" --master_addr "${MASTER_ADDR:-127.0.0.1}"
             --master_port "${PORT:-29500}")
fi
exec "${PYTHON:-python}" -m torch.distributed.run "${meeting[@]}" --nnodes "$nodes" \
    --nproc_per_node "$processes" "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
