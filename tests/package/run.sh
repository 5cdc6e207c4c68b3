#!/usr/bin/env bash
# The installed package, seen from outside: installs the build into a folder of its own, configures, builds and runs a
# consumer against it, compares with the installed program, and checks that the library shows no name but the headers'.
# run.sh BUILD SOURCE COMPILER
set -euo pipefail
build=$1 source=$2 compiler=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/installed" >"$work/log" || { cat "$work/log"; exit 1; }
cmake -S "$source/tests/package" -B "$work/build" -G Ninja "-DCMAKE_PREFIX_PATH=$work/installed" "-DCMAKE_CXX_COMPILER=$compiler" >"$work/log" ||
  { cat "$work/log"; exit 1; }
cmake --build "$work/build" >"$work/log" || { cat "$work/log"; exit 1; }

model=$source/tests/fixtures/models/vit_token image=$source/tests/fixtures/images/rgb.jpg
got=$(cd "$work" && build/consumer "$model" "$image")
json=$("$work/installed/bin/igq" predict "$model" "$image" --topk 1 --json)
want=$(sed -n 's/.*"class": \([0-9]*\).*/\1/p' <<<"$json")
[ -n "$want" ] && [ "$got" = "$want" ] || { echo "the consumer says class $got, the program $want"; exit 1; }

# Symbols that the library defines for others: igq::Classifier, igq::Embedder, the
# other public classes and functions, and the two exceptions alone.
library=$(echo "$work"/installed/lib*/libigq.so "$work"/installed/lib*/*/libigq.so | tr ' ' '\n' | grep -v '\*' | head -1)
shown=$(nm -DC --defined-only "$library" | cut -d' ' -f3-)
grep -q '^igq::Classifier::predict' <<<"$shown" || { echo "the API is not shown"; exit 1; }
strange=$(grep -vE '^igq::(Classifier::|Embedder::|ObjectDetector::|quantize(\[abi:cxx11\])?\(|compare(\[abi:cxx11\])?\(|version)|^(typeinfo|typeinfo name|vtable) for igq::(Error|Cancelled)$' <<<"$shown" || true)
[ -z "$strange" ] || { echo "shown, but not in the headers:"; echo "$strange"; exit 1; }

# No header of the build, and no other package, is needed: these headers alone.
[ "$(cd "$work/installed/include/igq" && ls | tr '\n' ' ')" = "detect.h embedder.h error.h export.h igq.h image.h quantize.h version.h " ] || { ls "$work/installed/include/igq"; exit 1; }
