#!/usr/bin/env bash
# A real Slurm of one node, for tests and for trying out a sweep without a cluster.
#   scripts/slurm_one_node.sh up [accounting]   start what does not run yet; return when the node is idle
#   scripts/slurm_one_node.sh status            exit 0 if it runs
#   scripts/slurm_one_node.sh down              end its jobs, stop what `up` started, remove the folder
#   eval "$(scripts/slurm_one_node.sh env)"     let sbatch, squeue and scancel find it
# With accounting, sacct answers; without it submitit's launcher never hears that a job was killed, and waits for ever.
# All lies in one folder, SLURM_ONE_NODE (/tmp/slurm_one_node), and nothing of the machine's own Slurm is read. No systemd
# is wanted: the daemons run as whoever calls this, which may be root in a container.
set -euo pipefail

state=${SLURM_ONE_NODE:-/tmp/slurm_one_node}
cpus=${SLURM_ONE_NODE_CPUS:-$(nproc)}
port=${SLURM_ONE_NODE_PORT:-16817} # and the three after it: not those of a Slurm that the machine may have
host=$(hostname -s)
user=$(id -un)
marker=made-by-slurm_one_node # without it, down removes nothing
export SLURM_CONF=$state/slurm.conf
PATH=$PATH:/usr/sbin:/sbin # Debian keeps the daemons there

die() { echo "slurm_one_node: $*" >&2; exit 1; }

need() { # PACKAGES PROGRAM...
    local packages=$1 program
    for program in "${@:2}"; do
        command -v "$program" >/dev/null || die "no $program here: apt-get install --no-install-recommends $packages"
    done
}

running() { # NAME: a pid file alone proves nothing, its number may be somebody else's by now
    local pid
    pid=$(cat "$state/$1.pid" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] &&
        ! grep -q '^State:.Z' "/proc/$pid/status"
}

wait_for() { # SECONDS WHAT COMMAND...
    local end=$((SECONDS + $1)) what=$2
    until "${@:3}" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || die "no $what after $1 s (sinfo: $(sinfo -h -o '%T %E' 2>&1 | head -1)); logs: $state/log"
        sleep 0.2
    done
}

configure() { # yes|no: with accounting?
    mkdir -m 755 "$state" || die "$state is in the way: call down, or name another folder in SLURM_ONE_NODE"
    mkdir "$state"/{ctld,slurmd.spool,log}
    touch "$state/$marker"
    (umask 077 && head -c 128 /dev/urandom >"$state/munge.key")
    cat >"$SLURM_CONF" <<CONF
ClusterName=one_node
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
# cred_expire is also how long a requeued job waits before it starts again: 120 s if left out
AuthInfo=socket=$state/munge.socket,cred_expire=5
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/slurmd.spool
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/log/slurmctld
SlurmdLogFile=$state/log/slurmd
# Neither cgroups nor pinning: a container often has none to give
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
# CPUs are counted, memory is not; SLURM_ONE_NODE_CPUS may claim more than there are
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# Preemption: a job of urgent puts those of main back in the queue; they have 10 s between SIGTERM and SIGKILL
JobRequeue=1
KillWait=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
# Tests wait for these: a lost node is soon seen as down, and back without being asked; jobs are started every 2 s
SlurmdTimeout=30
ReturnToService=2
SchedulerParameters=sched_interval=2,sched_min_interval=0,batch_sched_delay=0
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL State=UP PriorityTier=2
CONF
    [ "$1" = no ] || configure_accounting
}

configure_accounting() {
    cat >>"$SLURM_CONF" <<CONF
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((port + 2))
AccountingStoragePass=$state/munge.socket
CONF
    (umask 077 && cat >"$state/slurmdbd.conf") <<CONF
DbdHost=$host
DbdAddr=127.0.0.1
DbdPort=$((port + 2))
SlurmUser=$user
AuthType=auth/munge
AuthInfo=socket=$state/munge.socket
PidFile=$state/slurmdbd.pid
LogFile=$state/log/slurmdbd
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((port + 3))
StorageUser=slurm
CONF
    mariadb-install-db --no-defaults --datadir="$state/db" --user="$user" --skip-test-db >"$state/log/install-db" 2>&1
}

start() { # in this order; --skip-grant-tables: the database hears this machine only, and holds nothing but tests
    running munged || munged --socket="$state/munge.socket" --key-file="$state/munge.key" \
        --log-file="$state/log/munged" --pid-file="$state/munged.pid" --seed-file="$state/munge.seed"
    if [ -f "$state/slurmdbd.conf" ]; then
        running mariadbd || setsid mariadbd --no-defaults --datadir="$state/db" --user="$user" --skip-grant-tables \
            --bind-address=127.0.0.1 --port=$((port + 3)) --socket="$state/mariadb.socket" \
            --pid-file="$state/mariadbd.pid" </dev/null >"$state/log/mariadbd" 2>&1 &
        wait_for 30 mariadbd test -S "$state/mariadb.socket"
        running slurmdbd || slurmdbd
        wait_for 30 slurmdbd sacctmgr --noheader list cluster
    fi
    running slurmctld || slurmctld
    running slurmd || slurmd
}

# idle, mixed or allocated: an asterisk would mean that it does not answer
ready() { sinfo --noheader --format=%T | grep -qxE 'idle|mixed|allocated'; }

up() {
    need "slurm-wlm munge" munged slurmctld slurmd sbatch
    [ "${1:-}" != accounting ] || need "slurmdbd mariadb-server" slurmdbd mariadbd mariadb-install-db
    if [ ! -f "$SLURM_CONF" ]; then
        configure "$([ "${1:-}" = accounting ] && echo yes || echo no)"
    elif [ "${1:-}" = accounting ] && [ ! -f "$state/slurmdbd.conf" ]; then
        die "it is up without accounting: call down first"
    fi
    start
    wait_for 30 "node that takes jobs" ready
    status
}

status() {
    local name
    for name in munged slurmctld slurmd; do
        running "$name" || { echo "down: no $name of $state runs"; return 1; }
    done
    echo "up: $host, $(sinfo --noheader --partition=main --format='%c CPUs, %T'); export SLURM_CONF=$SLURM_CONF"
}

stop() { # NAME
    local pid end=$((SECONDS + 15))
    running "$1" || return 0
    pid=$(cat "$state/$1.pid")
    kill "$pid"
    while running "$1" && [ $SECONDS -lt $end ]; do sleep 0.1; done
    ! running "$1" || kill -KILL "$pid"
}

down() { # jobs first: their processes belong to slurmstepd, which outlives slurmd
    local name end=$((SECONDS + 20))
    if running slurmctld; then
        scancel --user="$user" || true
        while [ -n "$(squeue --noheader 2>/dev/null)" ] && [ $SECONDS -lt $end ]; do sleep 0.2; done
    fi
    for name in slurmd slurmctld slurmdbd mariadbd munged; do stop "$name"; done
    [ ! -e "$state/$marker" ] || rm -rf "$state"
    echo "down"
}

case ${1:-} in
    up) up "${2:-}" ;;
    down | status) "$1" ;;
    env) echo "export SLURM_CONF=$SLURM_CONF" ;;
    *) sed -n '2,10s/^# //p' "$0" >&2; exit 2 ;;
esac
