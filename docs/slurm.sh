#!/bin/bash
# A run on two machines of four GPUs under SLURM, which continues by itself after a time limit or a preemption:
#
#     sbatch docs/slurm.sh experiments/cifar10.py --net resnet18
#
# Two minutes before the time limit, and at a preemption, every rank gets SIGTERM: the run ends after its current step,
# saves checkpoints/last.ckpt and exits with status 143, and the job is queued again. `--resume auto` then finds the run
# by its flags. Data and runs must be where all machines see them.
#
#SBATCH --job-name=experiment
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.out

source .venv/bin/activate
srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" python "$@" \
    --num_nodes "$SLURM_NNODES" --devices "$SLURM_NTASKS_PER_NODE" --resume auto --enable_progress_bar false
status=$?
if [ "$status" -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
