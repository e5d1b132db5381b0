#!/bin/bash
# Set up a SLURM of one node from Debian's packages on this machine, and run the demo cohort on it by
# `rtpipeline workflow run --profile slurm`; then compare its tables with those of `rtpipeline run`.
# For a machine of your own or a container, as root, by hand: bash tests/cluster/one_node_slurm.sh FOLDER
set -euo pipefail
folder=$(realpath -m "${1:?give a folder for cohort and results}")
repository=$(realpath "$(dirname "$0")/../..")
python="$repository/.venv/bin/python"
export PATH="$repository/.venv/bin:$PATH"

apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq slurmctld slurmd slurm-client munge > /dev/null

mkdir -p /run/munge /etc/slurm /var/spool/slurmctld /var/spool/slurmd "$folder"
chown munge: /run/munge
host=$(hostname -s)
memory_mb=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
cat > /etc/slurm/slurm.conf <<CONF
ClusterName=one
SlurmctldHost=$host
SlurmUser=root
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
NodeName=$host CPUs=$(nproc) RealMemory=$memory_mb State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
runuser -u munge -- /usr/sbin/munged
slurmctld
slurmd
trap 'kill "$(cat /run/slurmd.pid)" "$(cat /run/slurmctld.pid)"; runuser -u munge -- /usr/sbin/munged --stop' EXIT
for _ in $(seq 30); do [ "$(sinfo --noheader --format %t)" = idle ] && break; sleep 1; done
sinfo

"$python" -m rtpipeline.cli.app demo --folder "$folder/demo"
"$python" -m rtpipeline.cli.app workflow run --profile slurm --config "$folder/demo/output/_RESULTS/effective_config.yaml" \
    --outdir "$folder/slurm" --config "logs_dir=$folder/slurm/Logs" --config max_workers=2
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


same = tables(folder / "demo" / "output") == tables(folder / "slurm")
print("tables of SLURM and of rtpipeline run:", "the same bytes" if same else "DIFFERENT")
sys.exit(not same)
CODE
