#!/bin/bash
# Set up a SLURM of one node from Debian's packages on this machine, and run the demo cohort on it by
# `rtpipeline workflow run --profile slurm`; then compare its tables with those of `rtpipeline run`.
# For a machine of your own or a container, as root, by hand: bash tests/cluster/one_node_slurm.sh FOLDER
# The daemons listen on the loopback address only, keep all but /etc/slurm/slurm.conf below FOLDER, and end with this
# script, which ends after an hour at the latest.
set -euo pipefail
folder=$(realpath -m "${1:?give a folder for cohort and results}")
repository=$(realpath "$(dirname "$0")/../..")
python="${PYTHON:-$repository/.venv/bin/python}"
PATH="$(dirname "$python"):$PATH"
export PATH

if ! hash slurmctld slurmd munged sbatch 2> /dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge \
        > /dev/null
fi

# Jobs do not inherit SLURM_CONF from Snakemake, so the configuration must lie where every program looks for it.
[ ! -e /etc/slurm/slurm.conf ] || { echo "this machine has a SLURM already: /etc/slurm/slurm.conf"; exit 1; }
daemons=$folder/daemons
mkdir -p "$daemons"/{munge,state,spool}
host=$(hostname -s)
memory_mb=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
head -c 128 /dev/urandom > "$daemons/munge/key"
chmod 600 "$daemons/munge/key"
chmod 755 "$daemons/munge"
cat > /etc/slurm/slurm.conf <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket=$daemons/munge/socket
CredType=cred/munge
SlurmUser=root
SlurmctldPidFile=$daemons/slurmctld.pid
SlurmdPidFile=$daemons/slurmd.pid
SlurmctldLogFile=$daemons/slurmctld.log
SlurmdLogFile=$daemons/slurmd.log
StateSaveLocation=$daemons/state
SlurmdSpoolDir=$daemons/spool
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MinJobAge=3600
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$memory_mb State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF

started=()
stop() { [ ${#started[@]} -eq 0 ] || kill "${started[@]}" 2> /dev/null || true; wait; rm -f /etc/slurm/slurm.conf; }
trap stop EXIT
munged --foreground --force --key-file="$daemons/munge/key" --socket="$daemons/munge/socket" \
    --pid-file="$daemons/munge/pid" --log-file="$daemons/munge/log" --seed-file="$daemons/munge/seed" > /dev/null 2>&1 &
started+=($!)
for _ in $(seq 100); do [ -S "$daemons/munge/socket" ] && break; sleep 0.1; done
slurmctld -D -i > /dev/null 2>&1 &
started+=($!)
slurmd -D -N "$host" > /dev/null 2>&1 &
started+=($!)
for _ in $(seq 60); do [ "$(sinfo --noheader --format %t 2> /dev/null)" = idle ] && break; sleep 1; done
sinfo
srun --time=1 bash -c 'echo "job $SLURM_JOB_ID runs on $SLURMD_NODENAME"'
sleep 3  # a daemon that ends before the step is put away leaves the step's own process behind

timeout 1200 "$python" -m rtpipeline.cli.app demo --folder "$folder/demo"
timeout 2400 "$python" -m rtpipeline.cli.app workflow run --profile slurm \
    --config "$folder/demo/output/_RESULTS/effective_config.yaml" \
    --outdir "$folder/slurm" --config "logs_dir=$folder/slurm/Logs" --config max_workers=2 \
    -- --slurm-status-command squeue --slurm-init-seconds-before-status-checks 10
"$python" - "$folder" <<'CODE'
import sys
from pathlib import Path

folder = Path(sys.argv[1])


def tables(output):
    return {
        path.relative_to(output): path.read_bytes()
        for path in output.rglob("*")
        if path.suffix in (".parquet", ".xlsx", ".csv") and path.parent.name != "_COURSES"
    }


here, there = tables(folder / "demo" / "output"), tables(folder / "slurm")
same = here == there and len(here) > 0
print(len(here), "tables of SLURM and of rtpipeline run:", "the same bytes" if same else "DIFFERENT")
sys.exit(not same)
CODE
