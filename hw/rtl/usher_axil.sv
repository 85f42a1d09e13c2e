// SPDX-License-Identifier: Apache-2.0
// AXI-Lite to a plain register bus: one write or read at a time each. A write is one clock of `we`; a
// read holds `re` for one clock and takes `rdata` READ_CLOCKS later. Writes of less than four bytes are
// refused with SLVERR and change nothing; addresses that nothing stands at read 0.
`default_nettype none

module usher_axil #(
	parameter integer ADDRESS_BITS = 19,
	parameter integer READ_CLOCKS  = 3
) (
	input  wire                    clk,
	input  wire                    rst,
	input  wire                    s_awvalid,
	output wire                    s_awready,
	input  wire [ADDRESS_BITS-1:0] s_awaddr,
	input  wire                    s_wvalid,
	output wire                    s_wready,
	input  wire [31:0]             s_wdata,
	input  wire [3:0]              s_wstrb,
	output reg                     s_bvalid,
	input  wire                    s_bready,
	output reg  [1:0]              s_bresp,
	input  wire                    s_arvalid,
	output wire                    s_arready,
	input  wire [ADDRESS_BITS-1:0] s_araddr,
	output reg                     s_rvalid,
	input  wire                    s_rready,
	output reg  [31:0]             s_rdata,
	output wire [1:0]              s_rresp,

	output reg                     we,
	output reg  [ADDRESS_BITS-1:0] waddr,
	output reg  [31:0]             wdata,
	output reg                     re,
	output reg  [ADDRESS_BITS-1:0] raddr,
	input  wire [31:0]             rdata
);
	localparam [1:0] OKAY   = 2'b00;
	localparam [1:0] SLVERR = 2'b10;

	// Writes are taken in even clocks and reads in odd ones, so that they never meet at a memory.
	reg odd;
	always @(posedge clk) odd <= !rst && !odd;

	// Address and data are taken together, when no answer waits.
	reg takes;
	assign s_awready = takes;
	assign s_wready  = takes;

	always @(posedge clk) begin
		takes <= s_awvalid && s_wvalid && !s_bvalid && !we && !takes && odd && !rst;
		we    <= takes && s_wstrb == 4'hf && !rst;
		if (takes) begin
			waddr   <= s_awaddr;
			wdata   <= s_wdata;
			s_bresp <= s_wstrb == 4'hf ? OKAY : SLVERR;
		end
		if (rst)           s_bvalid <= 1'b0;
		else if (takes)    s_bvalid <= 1'b1;
		else if (s_bready) s_bvalid <= 1'b0;
	end

	reg [READ_CLOCKS-1:0] reading;
	wire asks = s_arvalid && s_arready;
	assign s_arready = odd && reading == '0 && !s_rvalid;
	assign s_rresp   = OKAY;

	always @(posedge clk) begin
		re      <= asks && !rst;
		reading <= rst ? '0 : {reading[READ_CLOCKS-2:0], asks};
		if (asks) raddr <= s_araddr;
		if (rst) s_rvalid <= 1'b0;
		else if (reading[READ_CLOCKS-1]) begin
			s_rvalid <= 1'b1;
			s_rdata  <= rdata;
		end else if (s_rready) s_rvalid <= 1'b0;
	end
endmodule

`default_nettype wire
