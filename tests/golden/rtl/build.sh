#!/bin/sh
# Builds the bitstream from the sources beside this script, in ./build.
set -eu
cd "$(dirname "$0")"
mkdir -p build && cd build
tool() {
  command -v "$1" || command -v "yowasp-$1" && return
  echo "build.sh: $1 is not installed (pip install 'prunus[rtl]')" >&2
  exit 6
}
"$(tool yosys)" -q -l synthesis.log -p 'read_verilog ../rtl/uart_receiver.v ../rtl/uart_transmitter.v ../rtl/stream_bridge.v ../rtl/serial_network.v ../rtl/network.v ../rtl/top.v; synth_ecp5 -top top -json netlist.json'
"$(tool nextpnr-ecp5)" --85k --package CABGA381 --speed 6 --json netlist.json --lpf ../top.lpf --textcfg routed.config --freq 100 --report route.json
"$(tool ecppack)" --compress routed.config top.bit
