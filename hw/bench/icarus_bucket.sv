// SPDX-License-Identifier: Apache-2.0
// usher_bucket under Icarus: what hw/bench/bucket.cpp wrote down, request for request and answer for
// answer. A second reader of the same source, with unknown values where Verilator has zeros.
`default_nettype none

module icarus_bucket #(
	parameter integer SET_BITS = 4,
	parameter integer ID_BITS  = 32,
	parameter integer LATENCY  = 5
);
	reg         clk = 0;
	reg         rst = 1;
	reg         in_valid = 0;
	reg         in_charge = 0;
	reg  [63:0] in_hash;
	reg  [31:0] in_id;
	reg  [63:0] in_now;
	reg  [63:0] in_interval;
	reg  [63:0] in_tolerance;
	wire        ready, out_valid, out_refused, out_repeat, out_evicted;
	reg  [2:0]  want[0:LATENCY];
	reg         wanted[0:LATENCY];
	reg  [2:0]  answer;
	reg  [1:0]  flags;
	integer     file, fields, answers, clocks, i;
	reg [1023:0] name;

	usher_bucket #(.SET_BITS(SET_BITS), .ID_BITS(ID_BITS)) dut (.*);

	initial begin
		if (!$value$plusargs("file=%s", name)) $finish;
		file = $fopen(name, "r");
		for (i = 0; i <= LATENCY; i = i + 1) wanted[i] = 0;
		repeat (2) begin #1 clk = 1; #1 clk = 0; end
		rst = 0;
		while (ready !== 1) begin #1 clk = 1; #1 clk = 0; end
		answers = 0;
		clocks = 0;
		while (!$feof(file)) begin
			fields = $fscanf(file, "%b %h %h %h %h %h %b\n", flags, in_hash, in_id, in_now, in_interval,
				in_tolerance, answer);
			{in_valid, in_charge} = flags;
			wanted[0] = in_valid;
			want[0] = answer;
			#1 clk = 1;
			#1 clk = 0;
			for (i = LATENCY; i > 0; i = i - 1) begin
				wanted[i] = wanted[i-1];
				want[i] = want[i-1];
			end
			clocks = clocks + 1;
			if (out_valid !== wanted[LATENCY] ||
				(out_valid && {out_refused, out_repeat, out_evicted} !== want[LATENCY])) begin
				$display("icarus_bucket: clock %0d: %b %b, not %b %b", clocks, out_valid,
					{out_refused, out_repeat, out_evicted}, wanted[LATENCY], want[LATENCY]);
				$finish;
			end
			answers = answers + out_valid;
		end
		$display("icarus_bucket: %0d answers, 0 differ", answers);
		$finish;
	end
endmodule

`default_nettype wire
