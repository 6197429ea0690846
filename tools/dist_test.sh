#!/usr/bin/env bash
# Test in several processes: tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of `ltcls test`]
#
# The environment variables are those of tools/dist_train.sh.
set -euo pipefail

if [[ $# -lt 3 || ! $3 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of 'ltcls test']" >&2
    exit 2
fi
config=$1
checkpoint=$2
processes=$3
shift 3
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MKL_NUM_THREADS=${MKL_NUM_THREADS:-1}
nodes=${NNODES:-1}
if [[ $nodes == 1 && -z ${PORT:-} ]]; then
    meeting=(--standalone)
else
    meeting=(--node_rank "${NODE_RANK:-0}" --master_addr "${MASTER_ADDR:-127.0.0.1}"
             --master_port "${PORT:-29500}")
fi
exec "${PYTHON:-python}" -m torch.distributed.run "${meeting[@]}" --nnodes "$nodes" \
    --nproc_per_node "$processes" "$(dirname "$0")/test.py" "$config" "$checkpoint" \
    --launcher pytorch "$@"
