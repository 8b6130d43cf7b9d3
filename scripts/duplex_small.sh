#!/usr/bin/env bash
# Makes the adapter of the brain `small-duplex`: SmolLM2-135M-Instruct taught time slices on chats of its own and on
# dialogues whose answers are known. About an hour on two cores without bfloat16; every step can be resumed.
#   scripts/duplex_small.sh OUT [STEPS] [CHATS]
set -euo pipefail
out=$1 steps=${2:-160} chats=${3:-573}
fd=${FULLDUPLEX:-.venv/bin/fullduplex}
mix="basic=1.5,interweave=0.3,terminate=2.5,regenerate=1,reset=0.7,back_on_topic=2,backchannel=1"
mkdir -p "$out"

[ -e "$out/train.jsonl" ] || "$fd" data distill "$out/train.jsonl" --count "$chats" --part training --lead 0.5 \
    --rounds 1,2 --max-tokens 90 --seed 1
[ -e "$out/held.jsonl" ] || "$fd" data distill "$out/held.jsonl" --count 112 --part held-out --lead 0.5 \
    --rounds 1,2 --max-tokens 90 --seed 2
[ -e "$out/facts_train.jsonl" ] || "$fd" data facts "$out/facts_train.jsonl" --count 400 --part training --seed 1
[ -e "$out/facts_held.jsonl" ] || "$fd" data facts "$out/facts_held.jsonl" --count 120 --part held-out --seed 2

# Three speeds of reading: 2 s, 1 s and under 1 s of speech a slice.
if [ ! -e "$out/duplex.jsonl" ]; then
    python3 -c 'import random,sys; l=[x for f in sys.argv[1:] for x in open(f)]; random.Random(0).shuffle(l); sys.stdout.writelines(l)' \
        "$out/train.jsonl" "$out/facts_train.jsonl" >"$out/source.jsonl"
    for part in "1 4,6" "2 2,3" "3 1,2"; do
        read -r seed words <<<"$part"
        rm -f "$out/part$seed.jsonl"
        awk -v s="$seed" 'BEGIN { split("6 9 10", to); split("0 6 9", from) } (NR % 10) >= from[s] && (NR % 10) < to[s]' \
            "$out/source.jsonl" >"$out/source$seed.jsonl"
        "$fd" data build "$out/source$seed.jsonl" "$out/part$seed.jsonl" --mix "$mix" --words "$words" --hesitate 0.1 \
            --seed "$seed"
    done
    cat "$out"/part[123].jsonl >"$out/duplex.jsonl"
fi
[ -e "$out/watch.jsonl" ] || "$fd" data build "$out/held.jsonl" "$out/watch.jsonl" --mix "$mix" --hesitate 0.1 --limit 24
head -n 100 "$out/train.jsonl" >"$out/chats.jsonl"
resume=""
[ -e "$out/run/checkpoint" ] && resume=--resume
"$fd" tune run --data "$out/duplex.jsonl" --chats "$out/chats.jsonl" --held-out "$out/watch.jsonl" --out "$out/run" \
    --steps "$steps" --batch 4 --row-tokens 512 --precision float32 --evaluate-every 40 --seed 0 $resume
