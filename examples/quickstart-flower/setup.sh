#!/bin/sh
# Everything a verifiable run of this app needs on one machine: keys, a ledger, a task. Source it: . ./setup.sh
# A real federation makes each key on its owner's machine, and uses a ledger that all of them reach.
set -e
mkdir -p run/keys
export TALLYSTICK_PASSPHRASE_FILE="$PWD/run/passphrase"
[ -f run/passphrase ] || (umask 077; od -An -tx1 -N16 /dev/urandom | tr -d ' \n' > run/passphrase)
members=""
for name in sponsor server 0 1 2; do
    [ -f "run/keys/$name.json" ] || tallystick keys new "run/keys/$name.json" > /dev/null
done
for name in 0 1 2; do
    address=$(tallystick keys show "run/keys/$name.json" --json | grep -o '0x[0-9a-fA-F]\{40\}' | head -1)
    members="$members --member $address"
done
export TALLYSTICK_LEDGER="embedded:$PWD/run/ledger.sqlite" TALLYSTICK_STORE="$PWD/run/store"
if [ ! -f run/task ]; then
    python -m quickstart.task run/initial.npz
    TALLYSTICK_KEYSTORE=run/keys/sponsor.json tallystick task create run/initial.npz \
        --ledger "$TALLYSTICK_LEDGER" --store "$TALLYSTICK_STORE" $members --json \
        | grep -o '"task_id": *"[0-9a-f]*"' | grep -o '[0-9a-f]\{64\}' > run/task
fi
TALLYSTICK_TASK=$(cat run/task)
# Without a partition-id, on the server, it reads "server".
export TALLYSTICK_TASK TALLYSTICK_KEYSTORE="$PWD/run/keys/{partition-id}.json"
set +e
