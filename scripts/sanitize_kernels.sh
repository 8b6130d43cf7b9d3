#!/bin/sh
# The compiled kernels under the address and undefined-behaviour sanitizers: tests/kernels and the Mamba layers, compiled by
# gcc at -O0 into a folder of their own. Arguments go to pytest in place of these tests. A finding ends the run.
#
#   scripts/sanitize_kernels.sh                                  all of it, some minutes
#   scripts/sanitize_kernels.sh tests/kernels/test_kernels_ssd.py
# At -O1 gcc needs more than five minutes for this text with both sanitizers; at -O0 every access is there to be checked.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/cc" <<'CC'
#!/bin/bash
unset LD_PRELOAD
exec gcc "${@/#-O3/-O0}" -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
CC
chmod +x "$folder/cc"
[ $# -gt 0 ] || set -- tests/kernels tests/nn/test_nn_mamba.py tests/ssm/language/test_ssm_language_step.py \
    --deselect tests/kernels/test_kernels_native.py
export CC="$folder/cc" FULLDUPLEX_NATIVE_CACHE="$folder" FULLDUPLEX_NATIVE=on OMP_NUM_THREADS=2
# Python itself, torch and libgomp never give back all they took: leaks are not looked for.
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1
python=${PYTHON:-python}
# Compiled before the sanitizer's library is in front of everything: a compiler behind it may hang.
"$python" -c 'from pathlib import Path; import os, sys
from fullduplex.kernels.native.build import build
path, how = build(os.environ["CC"], Path(os.environ["FULLDUPLEX_NATIVE_CACHE"]))
sys.exit(None if path else how)'
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so)" \
    "$python" -m pytest -q -p no:cacheprovider "$@"
