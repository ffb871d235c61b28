"""Builds: a fixed-point network becomes firmware, proved bit by bit and timed by the tools that made it.

Words:
    circuit: adders, shifts, multiplexers and tables that da4ml makes of a network.
    stage: logic between two registers. Latency counts from the register of the inputs to that of the score.
    initiation interval: clocks between two events; 1 here.
    parity: the same scores, bit for bit, from the network, the emulator of the circuit, C++ and simulated Verilog.
    timing source: who says how fast it is: a router that has placed every gate, an estimate, or a vendor's report.

`flow.build_open` makes Verilog with no licence; `hls.build_hls` an hls4ml project, whose vendor's report
`vendor.read_report` reads; `export.export_gpu` ONNX.
"""
