// SPDX-License-Identifier: Apache-2.0
// Sections 4 to 6 of docs/admission.md: a frame's headers, the envelope of its payload, and where its
// token and its proof of work stand.
//
// Looks at the first three beats as they go by: bytes 0 to 191 hold all of it, under IPv4 (payload at
// 42) and IPv6 (payload at 62) alike. The output comes LATENCY = 3 clocks after `kept`, and `kept` one
// clock after the last beat. Fields of a frame that ends before them are what was there before;
// p_verdict, p_has_token and p_has_work never depend on them.
`default_nettype none

module usher_parse (
	input  wire         clk,
	input  wire         rst,
	// Beats of frames. s_keep: without gaps, and all ones but in the last beat.
	input  wire         s_valid,
	input  wire [511:0] s_data,
	input  wire [63:0]  s_keep,
	input  wire         s_last,
	// The frame whose last beat went by one clock ago is to be judged.
	input  wire         kept,
	input  wire [15:0]  udp_port,

	output reg          p_valid,
	// Of sections 4 and 5; PASS: none of their checks failed.
	output reg  [7:0]   p_verdict,
	output reg  [2:0]   p_class,
	// STATUS of event 0.
	output reg          p_box,
	output reg  [31:0]  p_event,
	output reg  [31:0]  p_id,
	output reg  [63:0]  p_user,
	// First word of the source's hash, and whether it is an IPv4 address.
	output reg  [63:0]  p_source,
	output reg          p_ipv4,
	output reg          p_has_token,
	output reg  [255:0] p_token,
	output reg          p_has_work,
	output reg  [159:0] p_work // from byte 4 on
);
	localparam integer ETHERNET    = 14;
	localparam integer IPV4        = 20;
	localparam integer IPV6        = 40;
	localparam integer UDP         = 8;
	localparam integer AT4         = ETHERNET + IPV4; // of the UDP header
	localparam integer AT6         = ETHERNET + IPV6;
	localparam [10:0] BASE        = usher_wire_pkg::RequestBytes[10:0];
	localparam [15:0] TOKEN_BYTES = 16'd32;
	localparam [15:0] WORK_BYTES  = 16'd24;

	// Two bytes, the first in bits 7:0, as a number in network order.
	function automatic [15:0] be16(input [15:0] bytes);
		be16 = {bytes[7:0], bytes[15:8]};
	endfunction

	// Section 3.
	function automatic [2:0] class_of(input [7:0] op);
		case (op)
		usher_wire_pkg::OpStatus, usher_wire_pkg::OpQuerySection, 8'd12:
			class_of = usher_wire_pkg::OpClassQuery[2:0];
		usher_wire_pkg::OpRelease, usher_wire_pkg::OpQueryHold, usher_wire_pkg::OpExtend,
		usher_wire_pkg::OpSwap:
			class_of = usher_wire_pkg::OpClassHold[2:0];
		usher_wire_pkg::OpReserve, usher_wire_pkg::OpReserveBest, usher_wire_pkg::OpReserveArea:
			class_of = usher_wire_pkg::OpClassNewHold[2:0];
		8'd10, 8'd11, usher_wire_pkg::OpWaitList:
			class_of = usher_wire_pkg::OpClassJoin[2:0];
		default:
			class_of = op[7:6] == 2'b01 ? usher_wire_pkg::OpClassPrivileged[2:0]
						    : usher_wire_pkg::OpClassNone[2:0];
		endcase
	endfunction

	// ---- clock 0: the first beats, and how many there were ----

	reg [511:0] beat0;
	reg [511:0] beat1;
	reg [431:0] beat2; // more of it is not looked at
	reg [4:0]   next;  // number of the beat to come; stays at 31
	reg [4:0]   whole; // beats before the last
	reg [63:0]  tail;  // s_keep of the last
	reg         ipv4;
	reg         ipv6;

	wire [15:0] ethertype = be16(s_data[12*8 +: 16]);

	always @(posedge clk) begin
		if (s_valid) begin
			if (next == 5'd0) begin
				beat0 <= s_data;
				ipv4  <= ethertype == 16'h0800;
				ipv6  <= ethertype == 16'h86dd;
			end
			if (next == 5'd1) beat1 <= s_data;
			if (next == 5'd2) beat2 <= s_data[431:0];
			whole <= next;
			tail  <= s_keep;
			next  <= s_last ? 5'd0 : next == 5'd31 ? 5'd31 : next + 5'd1;
		end
		if (rst) next <= 5'd0;
	end

	// ---- clock 1: fields ----

	// The last byte that is there, and its number.
	wire [63:0] end_bit = tail & ~{1'b0, tail[63:1]};
	wire [5:0]  end_at  = {|(end_bit & 64'hffffffff00000000), |(end_bit & 64'hffff0000ffff0000),
			       |(end_bit & 64'hff00ff00ff00ff00), |(end_bit & 64'hf0f0f0f0f0f0f0f0),
			       |(end_bit & 64'hcccccccccccccccc), |(end_bit & 64'haaaaaaaaaaaaaaaa)};

	// The ten words of an IPv4 header.
	wire [19:0] sum_a = 20'(be16(beat0[14*8 +: 16])) + 20'(be16(beat0[16*8 +: 16])) +
			    20'(be16(beat0[18*8 +: 16])) + 20'(be16(beat0[20*8 +: 16])) +
			    20'(be16(beat0[22*8 +: 16]));
	wire [19:0] sum_b = 20'(be16(beat0[24*8 +: 16])) + 20'(be16(beat0[26*8 +: 16])) +
			    20'(be16(beat0[28*8 +: 16])) + 20'(be16(beat0[30*8 +: 16])) +
			    20'(be16(beat0[32*8 +: 16]));

	// What is looked at of the datagram: bytes 2 to 5 of the UDP header, 0 to 5 and 8 to 23 of the
	// payload, and 64 to 119, where the extensions are.
	// verilator lint_off UNUSEDSIGNAL
	wire [1023:0] both = {beat1, beat0}; // addresses, UDP checksum and padding are not looked at
	// verilator lint_on UNUSEDSIGNAL
	wire [31:0]   udp    = ipv6 ? both[(AT6 + 2)*8 +: 32] : both[(AT4 + 2)*8 +: 32];
	wire [47:0]   base_a = ipv6 ? both[(AT6 + UDP)*8 +: 48] : both[(AT4 + UDP)*8 +: 48];
	wire [127:0]  base_b = ipv6 ? both[(AT6 + UDP + 8)*8 +: 128] : both[(AT4 + UDP + 8)*8 +: 128];
	wire [447:0]  places = ipv6 ? {beat2[431:0], both[1023:(AT6 + UDP + 64)*8]}
				    : {beat2[271:0], both[1023:(AT4 + UDP + 64)*8]};

	reg          valid1;
	reg          ipv4_1;
	reg          ipv6_1;
	reg [10:0]   length1;
	reg [19:0]   sum1;
	reg [7:0]    first1;    // of the IP header
	reg [15:0]   ip_bytes1; // as the IP header has it
	reg [15:0]   fragment1;
	reg [7:0]    protocol1;
	reg [63:0]   source1;
	reg [15:0]   port1;
	reg [15:0]   udp_bytes1;
	reg [15:0]   magic1;
	reg [7:0]    version1;
	reg [7:0]    op1;
	reg [15:0]   size_field1;
	reg [31:0]   event1;
	reg [31:0]   id1;
	reg [63:0]   user1;
	reg [255:0]  place_a1;  // at 64
	reg [191:0]  place_b1;  // at 96

	always @(posedge clk) begin
		valid1      <= kept && !rst;
		ipv4_1      <= ipv4;
		ipv6_1      <= ipv6;
		length1     <= {whole, 6'd0} + (tail[0] ? 11'(end_at) + 11'd1 : 11'd0);
		sum1        <= sum_a + sum_b;
		first1      <= beat0[14*8 +: 8];
		ip_bytes1   <= ipv6 ? be16(beat0[18*8 +: 16]) : be16(beat0[16*8 +: 16]);
		fragment1   <= be16(beat0[20*8 +: 16]);
		protocol1   <= ipv6 ? beat0[20*8 +: 8] : beat0[23*8 +: 8];
		source1     <= ipv6 ? beat0[22*8 +: 64] : {32'd0, beat0[26*8 +: 32]};
		port1       <= be16(udp[15:0]);
		udp_bytes1  <= be16(udp[31:16]);
		magic1      <= base_a[usher_wire_pkg::RequestMagicOffsetBytes*8 +: 16];
		version1    <= base_a[usher_wire_pkg::RequestVersionOffsetBytes*8 +: 8];
		op1         <= base_a[usher_wire_pkg::RequestOpOffsetBytes*8 +: 8];
		size_field1 <= base_a[usher_wire_pkg::RequestSizeOffsetBytes*8 +: 16];
		event1      <= base_b[(usher_wire_pkg::RequestEventOffsetBytes - 8)*8 +: 32];
		id1         <= base_b[(usher_wire_pkg::RequestRequestIdOffsetBytes - 8)*8 +: 32];
		user1       <= base_b[(usher_wire_pkg::RequestUserOffsetBytes - 8)*8 +: 64];
		place_a1    <= places[255:0];
		place_b1    <= places[447:256];
	end

	// ---- clock 2: comparisons ----

	// An IPv6 source of ::ffff:0:0/96 is an IPv4 one in disguise: section 8.1 looks at the address,
	// not at the frame. Its last four bytes are the word.
	reg         mapped1;
	reg [31:0]  mapped_word1;
	always @(posedge clk) begin
		mapped1      <= ipv6 && beat0[22*8 +: 96] == 96'hffff_00000000_00000000_0000;
		mapped_word1 <= beat0[34*8 +: 32];
	end

	// Folded twice, as often as it can carry.
	wire [16:0] fold_a   = 17'(sum1[15:0]) + 17'(sum1[19:16]);
	wire [15:0] fold_b   = fold_a[15:0] + 16'(fold_a[16]);
	wire [15:0] length16 = 16'(length1);
	// Of the datagram; nonsense where an earlier check fails.
	wire [15:0] gram_bytes = ipv6_1 ? ip_bytes1 : ip_bytes1 - 16'(IPV4);
	wire [15:0] size       = gram_bytes - 16'(UDP);

	wire token_here = place_a1[7:0] == usher_wire_pkg::ExtensionToken && place_a1[15:8] == 8'd0 &&
			  place_a1[31:16] == TOKEN_BYTES && 16'(BASE) + TOKEN_BYTES <= size;
	wire work_at_a  = place_a1[7:0] == usher_wire_pkg::ExtensionWork && place_a1[15:8] == 8'd0 &&
			  place_a1[31:16] == WORK_BYTES && 16'(BASE) + WORK_BYTES <= size;
	wire work_at_b  = place_b1[7:0] == usher_wire_pkg::ExtensionWork && place_b1[15:8] == 8'd0 &&
			  place_b1[31:16] == WORK_BYTES &&
			  16'(BASE) + TOKEN_BYTES + WORK_BYTES <= size;

	reg         valid2;
	reg         short_ether2;
	reg         other2;
	reg         bad_ip2;
	reg         other_protocol2;
	reg         bad_udp2;
	reg         other_port2;
	reg         short2;
	reg         magic2;
	reg         version2;
	reg         long2;
	reg         size2;
	reg [2:0]   class2;
	reg         box2;
	reg [31:0]  event2;
	reg [31:0]  id2;
	reg [63:0]  user2;
	reg [63:0]  source2;
	reg         source_ipv4_2;
	reg         token2;
	reg         work2;
	reg [255:0] place_a2;
	reg [159:0] place_w2;

	always @(posedge clk) begin
		valid2          <= valid1 && !rst;
		short_ether2    <= length1 < 11'(ETHERNET);
		other2          <= !ipv4_1 && !ipv6_1;
		bad_ip2         <= ipv4_1 ? length1 < 11'(AT4) || first1 != 8'h45 ||
					    ip_bytes1 < 16'(IPV4) ||
					    ip_bytes1 > length16 - 16'(ETHERNET) ||
					    fold_b != 16'hffff || (fragment1 & 16'h3fff) != 16'd0
					  : length1 < 11'(AT6) || first1[7:4] != 4'd6 ||
					    ip_bytes1 > length16 - 16'(AT6);
		other_protocol2 <= protocol1 != 8'd17;
		bad_udp2        <= gram_bytes < 16'(UDP) || udp_bytes1 != gram_bytes;
		other_port2     <= port1 != udp_port;
		short2          <= size < 16'(BASE);
		magic2          <= magic1 != usher_wire_pkg::RequestMagic;
		version2        <= version1 != usher_wire_pkg::Version;
		long2           <= size > usher_wire_pkg::PayloadBytesMax[15:0];
		size2           <= size_field1 != size;
		class2          <= class_of(op1);
		box2            <= op1 == usher_wire_pkg::OpStatus && event1 == 32'd0;
		event2          <= event1;
		id2             <= id1;
		user2           <= user1;
		source2         <= mapped1 ? {32'd0, mapped_word1} : source1;
		source_ipv4_2   <= ipv4_1 || mapped1;
		token2          <= token_here;
		work2           <= token_here ? work_at_b : work_at_a;
		place_a2        <= place_a1;
		place_w2        <= token_here ? place_b1[191:32] : place_a1[191:32];
	end

	// ---- clock 3: the first check that failed ----

	always @(posedge clk) begin
		p_valid <= valid2 && !rst;
		if (short_ether2)                  p_verdict <= usher_wire_pkg::VerdictHeader;
		else if (other2)                   p_verdict <= usher_wire_pkg::VerdictHost;
		else if (bad_ip2)                  p_verdict <= usher_wire_pkg::VerdictHeader;
		else if (other_protocol2)          p_verdict <= usher_wire_pkg::VerdictHost;
		else if (bad_udp2)                 p_verdict <= usher_wire_pkg::VerdictHeader;
		else if (other_port2)              p_verdict <= usher_wire_pkg::VerdictHost;
		else if (short2)                   p_verdict <= usher_wire_pkg::VerdictPayloadShort;
		else if (magic2)                   p_verdict <= usher_wire_pkg::VerdictMagic;
		else if (version2)                 p_verdict <= usher_wire_pkg::VerdictVersion;
		else if (long2)                    p_verdict <= usher_wire_pkg::VerdictPayloadLong;
		else if (size2)                    p_verdict <= usher_wire_pkg::VerdictSize;
		else if (class2 == usher_wire_pkg::OpClassNone[2:0])
						   p_verdict <= usher_wire_pkg::VerdictOp;
		else if (class2 == usher_wire_pkg::OpClassPrivileged[2:0])
						   p_verdict <= usher_wire_pkg::VerdictPrivileged;
		else                               p_verdict <= usher_wire_pkg::VerdictPass;
		p_class     <= class2;
		p_box       <= box2;
		p_event     <= event2;
		p_id        <= id2;
		p_user      <= user2;
		p_source    <= source2;
		p_ipv4      <= source_ipv4_2;
		p_has_token <= token2;
		p_token     <= place_a2;
		p_has_work  <= work2;
		p_work      <= place_w2;
	end
endmodule

`default_nettype wire
