#!/usr/bin/env bash
# Makes the adapter of the brain `small-duplex`: SmolLM2-135M-Instruct taught time slices on chats of its own and on
# dialogues whose answers are known. About two hours on two cores without bfloat16; every step can be resumed. The second
# round begins with the adapter of the first: side questions from a table of known answers, more pauses, all three speeds alike.
# Another seed of the second round gives other cuts, pauses, side questions and another order, in a folder of its own; the mean
# of two such rounds depends less on the seed: fullduplex tune average OUT/second{,-2}/adapter.safetensors --out FILE
#   scripts/duplex_small.sh OUT [STEPS] [CHATS] [STEPS OF THE SECOND ROUND] [SEED OF THE SECOND ROUND]
set -euo pipefail
out=$1 steps=${2:-160} chats=${3:-573} more=${4:-110} seed2=${5:-1}
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
[ -e "$out/run/adapter.safetensors" ] || "$fd" tune run --data "$out/duplex.jsonl" --chats "$out/chats.jsonl" \
    --held-out "$out/watch.jsonl" --out "$out/run" --steps "$steps" --batch 4 --row-tokens 512 --precision float32 \
    --evaluate-every 40 --seed 0 $resume

back="basic=1,interweave=0.3,terminate=2,regenerate=0.5,reset=0.5,back_on_topic=5,backchannel=1"
[ "$seed2" = 1 ] && second=$out/second || second=$out/second-$seed2
if [ ! -e "$second.jsonl" ]; then
    python3 -c 'import random,sys; l=[x for f in sys.argv[1:] for x in open(f)]; random.Random(7).shuffle(l); sys.stdout.writelines(l)' \
        "$out/train.jsonl" "$out/facts_train.jsonl" >"$out/source.jsonl"
    for part in "1 4,6" "2 2,3" "3 1,2"; do
        read -r number words <<<"$part"
        rm -f "$out/part$number.jsonl"
        awk -v n="$number" 'NR % 3 == n % 3' "$out/source.jsonl" >"$out/source$number.jsonl"
        "$fd" data build "$out/source$number.jsonl" "$out/part$number.jsonl" --mix "$back" --words "$words" --hesitate 0.2 \
            --side-questions training --seed "$seed2$number"
    done
    cat "$out"/part[123].jsonl >"$second.jsonl"
fi
resume=""
[ -e "$second/checkpoint" ] && resume=--resume
"$fd" tune run --data "$second.jsonl" --chats "$out/chats.jsonl" --held-out "$out/watch.jsonl" --out "$second" \
    --start "$out/run/adapter.safetensors" --steps "$more" --batch 4 --row-tokens 512 --lr 7e-4 --precision float32 \
    --evaluate-every 55 --seed "$seed2" $resume
