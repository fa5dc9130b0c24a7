#!/usr/bin/env bash
# Build and check the contracts. `check.sh write` writes the shipped artifact and the gas snapshot instead of comparing them.
# FOUNDRY_PROFILE=ci runs 10,000 fuzz cases and 10,000 invariant runs, slither, and halmos.
set -euo pipefail
cd "$(dirname "$0")/.."
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) platform=linux-amd64 ;;
  Linux-aarch64 | Linux-arm64) platform=linux-arm64 ;;
  Darwin-arm64) platform=darwin-arm64 ;;
  Darwin-*) platform=darwin-amd64 ;;
  *) echo "forge has no build for $(uname -s) $(uname -m)"; exit 1 ;;
esac
forge="node_modules/@foundry-rs/forge-$platform/bin/forge"
python="../.venv/bin/python"
[ -x "$forge" ] || { echo "no $forge: run npm install --no-save in contracts/"; exit 1; }
# Their gas is that of the tests' own work.
untimed="Invariants|Vectors|RefutableTest|ChallengeTest|BatchTest|RecoveryTest|EvidenceTest|VotesTest|AvailabilityTest|SettlementTest"

echo "-- format"; "$forge" fmt --check
echo "-- build"; "$forge" build --quiet
if [ "${1:-}" = write ]; then
  "$python" tools/artifacts.py
  "$forge" snapshot --quiet --no-match-contract "$untimed"
  "$forge" test --quiet --match-contract Gas
  exit 0
fi
export FORGE_SNAPSHOT_EMIT=false
echo "-- shipped artifact"; "$python" tools/artifacts.py --check
echo "-- tests (profile ${FOUNDRY_PROFILE:-default})"; "$forge" test --summary | grep -E "^(Ran|Suite|\[FAIL|\[PASS|\|)" | grep -vE "Crowd|Selector"
echo "-- gas snapshot"; FOUNDRY_PROFILE=default "$forge" snapshot --check --quiet --no-match-contract "$untimed"; FORGE_SNAPSHOT_CHECK=true "$forge" test --quiet --match-contract Gas; echo "as recorded in .gas-snapshot and snapshots/"
echo "-- coverage"; FOUNDRY_PROFILE=default "$forge" coverage --ir-minimum --no-match-contract "Gas|Invariants|Vectors" --report summary --report lcov 2>/dev/null | grep -E '^\| (File|src)' ; "$python" tools/coverage.py 95
if [ "${FOUNDRY_PROFILE:-default}" = ci ]; then
  # Its own environment: slither wants an older web3 than the package.
  echo "-- slither"
  [ -x .slither/bin/slither ] || { python3 -m venv .slither && .slither/bin/python -m pip install --quiet --disable-pip-version-check slither-analyzer==0.11.6; }
  PATH="$PWD/$(dirname "$forge"):$PATH" .slither/bin/slither . --config-file slither.config.json 2>&1 | grep -E '^(INFO:Slither|Detector|[A-Z].* \(src/)'
  [ "${PIPESTATUS[0]}" -eq 0 ] || { echo "slither has findings that slither.config.json does not explain"; exit 1; }
  # For all words, weights and amounts, and not for 10,000 of them; each proof within a minute of its solver.
  echo "-- halmos"
  [ -x .halmos/bin/halmos ] || { python3 -m venv .halmos && .halmos/bin/python -m pip install --quiet --disable-pip-version-check halmos==0.3.3; }
  PATH="$PWD/$(dirname "$forge"):$PWD/.halmos/bin:$PATH" FOUNDRY_PROFILE=proof .halmos/bin/python tools/prove.py --forge-build-out out/proof --loop 70 --solver-timeout-assertion 60s 2>&1 \
    | grep -E '(PASS|FAIL|TIMEOUT|ERROR)|^Symbolic' || { echo "halmos could not prove all"; exit 1; }
fi
