/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames on their way through a queue. See port_open.c for how a device gets there.
 */
#include "port/port.h"

#include <string.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "port/diag.h"

/* What the device says of the checksums, in our words. NONE: the data is whole although the field
 * is not filled in (a guest's unfinished checksum). */
static inline uint16_t rx_flags(uint64_t ol_flags)
{
	uint64_t ip = ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
	uint64_t l4 = ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
	uint16_t flags = 0;

	if (ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD || ip == RTE_MBUF_F_RX_IP_CKSUM_NONE)
		flags |= USH_PACKET_IP_CHECKSUM_GOOD;
	else if (ip == RTE_MBUF_F_RX_IP_CKSUM_BAD)
		flags |= USH_PACKET_IP_CHECKSUM_BAD;
	if (l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD || l4 == RTE_MBUF_F_RX_L4_CKSUM_NONE)
		flags |= USH_PACKET_L4_CHECKSUM_GOOD;
	else if (l4 == RTE_MBUF_F_RX_L4_CKSUM_BAD)
		flags |= USH_PACKET_L4_CHECKSUM_BAD;
	return flags;
}

static uint32_t receive(struct ush_port_queue *queue, struct ush_packet *packets, uint32_t max)
{
	struct rte_mbuf *mbufs[USH_LOOP_BURST];
	uint32_t received, count = 0, i;

	received = rte_eth_rx_burst(queue->port->id, queue->id, mbufs, (uint16_t)max);
	for (i = 0; i < received; i++) {
		struct rte_mbuf *mbuf = mbufs[i];

		if (ush_unlikely(mbuf->nb_segs != 1)) {
			ush_loop_count_drop(queue->loop, USH_DROP_PAYLOAD_LONG, NULL);
			rte_pktmbuf_free(mbuf);
			continue;
		}
		packets[count++] = (struct ush_packet){
			.data = rte_pktmbuf_mtod(mbuf, uint8_t *),
			.size = mbuf->data_len,
			.capacity = (uint32_t)mbuf->buf_len - mbuf->data_off,
			.handle = mbuf,
			.flags = rx_flags(mbuf->ol_flags),
			/* Not every driver sets mbuf->port; replies find their way back by this. */
			.port = queue->port->id,
		};
		USH_PREFETCH(packets[count - 1].data);
	}
	return count;
}

static inline void count_one(_Atomic uint64_t *counter)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
		memory_order_relaxed);
}

/* Makes a packet of the next message of a datagram. ret: false: there is no buffer for it now. */
static bool cut_one(
	struct ush_port_queue *queue, const struct ush_packet *frame, struct ush_packet *part)
{
	struct rte_mbuf *mbuf;

	/* A base message has a base reply. */
	if (ush_likely(ush_pack_bytes(frame, queue->cut_at) == USH_REQUEST_BYTES)) {
		queue->cut_at += ush_pack_part(frame, queue->cut_at, part);
		return true;
	}
	mbuf = rte_pktmbuf_alloc(queue->port->pool);
	if (ush_unlikely(mbuf == NULL))
		return false;
	queue->cut_at += ush_pack_part_copy(frame, queue->cut_at, rte_pktmbuf_mtod(mbuf, uint8_t *),
		(uint32_t)mbuf->buf_len - mbuf->data_off, part);
	part->handle = mbuf;
	return true;
}

/* Takes what it can of the first packet that is held. ret: packets; *done: nothing of it is left.
 */
static uint32_t take_held(
	struct ush_port_queue *queue, struct ush_packet *packets, uint32_t max, bool *done)
{
	struct ush_packet *frame = &queue->held[queue->held_first];
	uint32_t payload_bytes = 0, detail = 0, count = 0;

	if (queue->cut_at == 0) {
		/* UDP is not answered in place. */
		if (!ush_pack_glance(frame) ||
			ush_parse_frame(&queue->port->net, frame, &payload_bytes, &detail) !=
				USH_PARSE_REQUEST ||
			ush_pack_count(frame->data + frame->payload_at, payload_bytes) == 1) {
			packets[0] = *frame;
			*done = true;
			return 1;
		}
		frame->size = frame->payload_at + payload_bytes;
	}
	while (count < max && frame->payload_at + queue->cut_at < frame->size &&
		cut_one(queue, frame, &packets[count]))
		count++;
	*done = frame->payload_at + queue->cut_at == frame->size;
	if (*done) {
		queue->cut[queue->cut_count++] = frame->handle;
		count_one(&queue->rx_packed);
	}
	return count;
}

/* Holds the packets of a burst from the first on that may be of several messages. ret: packets
 * before that one. */
static uint32_t hold(struct ush_port_queue *queue, const struct ush_packet *packets, uint32_t count)
{
	uint32_t before = 0;

	while (before < count && !ush_pack_glance(&packets[before]))
		before++;
	if (ush_likely(before == count))
		return count;
	memcpy(queue->held, &packets[before], (count - before) * sizeof(packets[0]));
	queue->held_first = 0;
	queue->held_end = count - before;
	queue->cut_at = 0;
	return before;
}

uint32_t ush_port_receive(struct ush_port_queue *queue, struct ush_packet *packets, uint32_t max)
{
	uint32_t count = 0;
	bool done = true;

	USH_ASSERT(max <= USH_LOOP_BURST);
	if (ush_unlikely(queue->cut_count != 0)) {
		rte_pktmbuf_free_bulk(queue->cut, queue->cut_count);
		queue->cut_count = 0;
	}
	if (ush_likely(!ush_port_holds(queue))) {
		count = receive(queue, packets, max);
		if (ush_likely(queue->cuts))
			count = hold(queue, packets, count);
	}
	while (ush_unlikely(ush_port_holds(queue)) && count < max && done) {
		count += take_held(queue, packets + count, max - count, &done);
		if (done) {
			queue->held_first++;
			queue->cut_at = 0;
		}
	}
	return count;
}

/* Makes the buffer say what the packet says. */
static inline struct rte_mbuf *tx_mbuf(const struct ush_port *port, const struct ush_packet *packet)
{
	struct rte_mbuf *mbuf = packet->handle;

	mbuf->data_len = (uint16_t)packet->size;
	mbuf->pkt_len = packet->size;
	mbuf->ol_flags = 0;
	/* ARP, neighbour and echo answers carry finished checksums. */
	if (port->net.checksum_tx_offload && packet->payload_at != 0) {
		bool v4 = packet->family == 4;

		mbuf->l2_len = sizeof(struct rte_ether_hdr);
		mbuf->l3_len = v4 ? 20 : 40;
		mbuf->ol_flags =
			RTE_MBUF_F_TX_UDP_CKSUM |
			(v4 ? RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM : RTE_MBUF_F_TX_IPV6);
	}
	return mbuf;
}

/* Offers packets to the device while it takes some. ret: how many it took. */
static uint32_t tx_offer(
	struct ush_port_queue *queue, const struct ush_packet *packets, uint32_t count)
{
	struct rte_mbuf *mbufs[USH_PORT_BACKLOG];
	uint32_t sent = 0, i;
	uint16_t took;

	for (i = 0; i < count; i++)
		mbufs[i] = tx_mbuf(queue->port, &packets[i]);
	do {
		took = rte_eth_tx_burst(
			queue->port->id, queue->id, mbufs + sent, (uint16_t)(count - sent));
		sent += took;
	} while (ush_unlikely(sent < count && took != 0));
	return sent;
}

/* Drops packets that nobody takes; their replies are no longer counted as given. */
static void tx_drop(struct ush_port_queue *queue, const struct ush_packet *packets, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		struct ush_packet one = packets[i];
		uint32_t end = one.size, bytes = 0;

		if ((one.flags & USH_PACKET_PACKED) == 0) {
			ush_loop_count_drop(queue->loop, USH_DROP_TX_FULL, &one);
			continue;
		}
		/* Each of the replies that were put together. */
		for (; one.payload_at < end; one.payload_at = (uint16_t)(one.payload_at + bytes)) {
			bytes = ush_pack_bytes(&one, 0);
			ush_loop_count_drop(queue->loop, USH_DROP_TX_FULL, &one);
		}
	}
	ush_port_free(packets, count);
	atomic_store_explicit(&queue->tx_dropped,
		atomic_load_explicit(&queue->tx_dropped, memory_order_relaxed) + count,
		memory_order_relaxed);
}

bool ush_port_flush(struct ush_port_queue *queue, uint64_t now_ns)
{
	uint32_t sent;

	if (ush_likely(queue->waiting == 0))
		return true;
	sent = tx_offer(queue, queue->backlog, queue->waiting);
	if (sent != 0) {
		queue->waiting -= sent;
		memmove(queue->backlog, queue->backlog + sent,
			queue->waiting * sizeof(queue->backlog[0]));
		queue->waiting_since_ns = now_ns;
		queue->stuck = false;
	} else if (now_ns - queue->waiting_since_ns >= queue->patience_ns) {
		tx_drop(queue, queue->backlog, queue->waiting);
		queue->waiting = 0;
		queue->stuck = true;
	}
	return queue->waiting <= USH_LOOP_BURST;
}

static void joined_end(struct ush_port_queue *queue, struct ush_packet *joined, uint32_t replies)
{
	if (joined == NULL)
		return;
	ush_pack_end(&queue->port->net, joined);
	if (replies > 1)
		count_one(&queue->tx_packed);
}

/* Puts replies to messages that came with others together, as far as they follow one another and go
 * to the same peer. ret: packets left. */
static uint32_t join(struct ush_port_queue *queue, struct ush_packet *packets, uint32_t count)
{
	struct ush_packet *joined = NULL;
	uint32_t kept = 0, replies = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct ush_packet *packet = &packets[i];
		struct rte_mbuf *mbuf;

		if ((packet->flags & USH_PACKET_PACKED) == 0) {
			packets[kept++] = *packet;
			continue;
		}
		if (ush_likely(joined != NULL && ush_pack_fits(joined, packet))) {
			ush_pack_add(joined, packet);
			rte_pktmbuf_free(packet->handle);
			replies++;
			continue;
		}
		joined_end(queue, joined, replies);
		joined = NULL;
		if (packet->handle == NULL) {
			mbuf = rte_pktmbuf_alloc(queue->port->pool);
			if (ush_unlikely(mbuf == NULL)) {
				tx_drop(queue, packet, 1);
				continue;
			}
			ush_pack_move(packet, rte_pktmbuf_mtod(mbuf, uint8_t *),
				(uint32_t)mbuf->buf_len - mbuf->data_off);
			packet->handle = mbuf;
		}
		packets[kept] = *packet;
		joined = &packets[kept++];
		replies = 1;
	}
	joined_end(queue, joined, replies);
	return kept;
}

/* Gives the replies that the loop kept a buffer each. ret: packets left: without buffers, those
 * that found none are dropped. */
static uint32_t into_buffers(
	struct ush_port_queue *queue, struct ush_packet *packets, uint32_t count)
{
	struct rte_mbuf *mbufs[USH_LOOP_SEND_MAX];
	uint32_t wanted = 0, used = 0, kept = 0, flags = 0, i;

	for (i = 0; i < count; i++)
		flags |= packets[i].flags;
	if (ush_unlikely((flags & USH_PACKET_PACKED) != 0))
		count = join(queue, packets, count);
	for (i = 0; i < count; i++)
		wanted += packets[i].handle == NULL;
	if (wanted == 0)
		return count;
	if (ush_unlikely(rte_pktmbuf_alloc_bulk(queue->port->pool, mbufs, wanted) != 0)) {
		for (i = 0; i < wanted; i++) {
			mbufs[i] = rte_pktmbuf_alloc(queue->port->pool);
			if (mbufs[i] == NULL)
				break;
		}
		wanted = i;
	}
	/* Who took the last reply in a buffer may have its lines still. */
	for (i = 0; i < wanted; i++) {
		uint8_t *data = rte_pktmbuf_mtod(mbufs[i], uint8_t *);

		USH_PREFETCH_WRITE(data);
		USH_PREFETCH_WRITE(data + USH_CACHE_LINE);
	}
	for (i = 0; i < count; i++) {
		struct ush_packet *packet = &packets[i];

		if (packet->handle == NULL) {
			if (ush_unlikely(used == wanted)) {
				tx_drop(queue, packet, 1);
				continue;
			}
			/* Of a size known here; USH_PACKET_KEPT_BYTES can be read. */
			rte_memcpy(rte_pktmbuf_mtod(mbufs[used], void *), packet->data,
				USH_PACKET_KEPT_BYTES);
			packet->data = rte_pktmbuf_mtod(mbufs[used], uint8_t *);
			packet->handle = mbufs[used++];
		}
		/* Only behind one that was dropped. */
		if (ush_unlikely(kept != i))
			packets[kept] = *packet;
		kept++;
	}
	return kept;
}

void ush_port_send(
	struct ush_port_queue *queue, struct ush_packet *packets, uint32_t count, uint64_t now_ns)
{
	uint32_t sent = 0;

	count = into_buffers(queue, packets, count);
	if (count == 0)
		return;
	/* Order is kept: what waits goes first. */
	if (queue->waiting == 0 || ush_port_flush(queue, now_ns))
		sent = queue->waiting == 0 ? tx_offer(queue, packets, count) : 0;
	if (ush_likely(sent == count)) {
		queue->stuck = false;
		return;
	}
	packets += sent;
	count -= sent;
	if (queue->stuck && sent == 0) {
		tx_drop(queue, packets, count);
		return;
	}
	queue->stuck = false;
	if (queue->waiting == 0)
		queue->waiting_since_ns = now_ns;
	if (ush_unlikely(count > USH_PORT_BACKLOG - queue->waiting)) {
		/* Frames of this port may come out of another port's turn. The oldest go. */
		uint32_t excess = count - (USH_PORT_BACKLOG - queue->waiting);

		excess = excess < queue->waiting ? excess : queue->waiting;
		tx_drop(queue, queue->backlog, excess);
		queue->waiting -= excess;
		memmove(queue->backlog, queue->backlog + excess,
			queue->waiting * sizeof(queue->backlog[0]));
	}
	USH_ASSERT(count <= USH_PORT_BACKLOG - queue->waiting);
	memcpy(queue->backlog + queue->waiting, packets, count * sizeof(packets[0]));
	queue->waiting += count;
}

void ush_port_free(const struct ush_packet *packets, uint32_t count)
{
	struct rte_mbuf *mbufs[USH_LOOP_BURST];
	uint32_t i = 0, kept;

	while (i < count) {
		for (kept = 0; i < count && kept < USH_LOOP_BURST; i++)
			if (packets[i].handle != NULL)
				mbufs[kept++] = packets[i].handle;
		rte_pktmbuf_free_bulk(mbufs, kept);
	}
}

void ush_port_counters_read(const struct ush_port *port, struct ush_port_counters *counters)
{
	struct rte_eth_stats stats;

	memset(counters, 0, sizeof(*counters));
	counters->link_ups = atomic_load_explicit(&port->link_ups, memory_order_relaxed);
	counters->link_downs = atomic_load_explicit(&port->link_downs, memory_order_relaxed);
	if (rte_eth_stats_get(port->id, &stats) != 0)
		return;
	counters->rx_packets = stats.ipackets;
	counters->rx_bytes = stats.ibytes;
	counters->tx_packets = stats.opackets;
	counters->tx_bytes = stats.obytes;
	counters->rx_missed = stats.imissed;
	counters->rx_errors = stats.ierrors;
	counters->rx_no_buffer = stats.rx_nombuf;
	counters->tx_errors = stats.oerrors;
}
