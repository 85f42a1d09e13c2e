// SPDX-License-Identifier: Apache-2.0
// A memory with one port to write and one to read, for block RAM: out_data is what stood at read_address
// before the edge, one clock later; it stays while read_enable is 0. Contents are not reset.

`default_nettype none

module usher_ram #(
	parameter integer WIDTH        = 577,
	parameter integer ADDRESS_BITS = 7
) (
	input  wire                    clk,
	input  wire                    write_enable,
	input  wire [ADDRESS_BITS-1:0] write_address,
	input  wire [WIDTH-1:0]        write_data,
	input  wire                    read_enable,
	input  wire [ADDRESS_BITS-1:0] read_address,
	output wire [WIDTH-1:0]        out_data
`ifdef FORMAL
	,
	// Any place, for proofs.
	input  wire [ADDRESS_BITS-1:0] f_address,
	output wire [WIDTH-1:0]        f_data
`endif
);
	reg [WIDTH-1:0] memory[0:(1<<ADDRESS_BITS)-1];
	reg [WIDTH-1:0] data;

	always @(posedge clk) begin
		if (write_enable)
			memory[write_address] <= write_data;
		if (read_enable)
			data <= memory[read_address];
	end
	assign out_data = data;
`ifdef FORMAL
	assign f_data = memory[f_address];
`endif
endmodule

`default_nettype wire
