/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ethernet ports: frames from a device to a loop, and back.
 *
 * Owns:  devices, their queues, the pool of packet buffers, frames that could not be sent yet.
 * Reads: the configuration.
 * Never: looks into a frame; that is parse's business.
 */
#ifndef USH_PORT_H
#define USH_PORT_H

#include <stdatomic.h>

#include "base/packet.h"
#include "loop/loop.h"
#include "parse/pack.h"
#include "port/config.h"

struct rte_mbuf;
struct rte_mempool;

/* Buffers kept by each core. */
#define USH_PORT_CACHE 256u
/* Frames of one queue that may wait for room in the device. Nothing is received while more than
 * USH_LOOP_BURST wait, so that what one turn sends always fits. */
#define USH_PORT_BACKLOG 512u
static_assert(USH_PORT_BACKLOG >= USH_LOOP_BURST + USH_LOOP_SEND_MAX, "a turn's frames fit");
struct ush_port {
	const struct ush_config_port *config;
	/* EAL's number. */
	uint16_t id;
	uint16_t queue_count;
	bool is_pci;
	struct ush_net net;
	struct rte_mempool *pool;
	/* Peers that came or links that rose, and the reverse. Written by EAL's interrupt thread.
	 */
	_Atomic uint64_t link_ups;
	_Atomic uint64_t link_downs;
};

/* One queue pair, used by one loop only. */
struct ush_port_queue {
	struct ush_port *port;
	struct ush_loop *loop;
	uint16_t id;
	/* Room of the last patience_ns was none. */
	bool stuck;
	uint32_t waiting;
	uint64_t waiting_since_ns;
	/* A device that takes nothing for so long has no reader: what waits is dropped, and nothing
	 * waits any more until it takes a frame again. The configuration's tx_patience_ms. */
	uint64_t patience_ns;
	/* Datagrams of several messages are cut; with a hardware filter in front they are not. */
	bool cuts;
	/* Received, not handed on yet: a datagram of several messages and what came behind it;
	 * bytes of the first one's payload that were handed on. */
	uint32_t held_first;
	uint32_t held_end;
	uint32_t cut_at;
	struct ush_packet held[USH_LOOP_BURST];
	/* Read by anyone: datagrams cut, those put together. */
	_Atomic uint64_t rx_packed;
	_Atomic uint64_t tx_packed;
	_Atomic uint64_t tx_dropped;
	/* Datagrams whose last message was handed on: freed when that turn's packets were sent. */
	uint32_t cut_count;
	struct rte_mbuf *cut[USH_LOOP_BURST];
	struct ush_packet backlog[USH_PORT_BACKLOG];
};

/* ret: the pool, or NULL with a message. by: the main thread. */
struct rte_mempool *ush_port_pool_make(
	uint32_t mbuf_count, bool last_in_first_out, struct ush_message *message);

/*
 * Configures and starts a device, one queue pair for each loop as far as it has them.
 * out: port: addresses and queue_count set.
 * ret: 0; err: -USH_ENOENT (no such device), -USH_EUNSUPPORTED, -USH_ESYSTEM with a message.
 * by:  the main thread, before the loops run.
 */
int ush_port_open(struct ush_port *port, const struct ush_config_port *config,
	const struct ush_device *device, uint32_t loop_count, struct rte_mempool *pool,
	struct ush_message *message);

/* Waits, at most wait_ms, until a physical link is up. ret: true if it is. */
bool ush_port_wait_link(const struct ush_port *port, uint32_t wait_ms);

void ush_port_close(struct ush_port *port);

/* ret: true if packets are held that ush_port_receive will give before it receives others. */
USH_INLINE bool ush_port_holds(const struct ush_port_queue *queue)
{
	return queue->held_first != queue->held_end;
}

/*
 * Receives up to `max` frames as packets. A frame in several buffers is longer than any request:
 * it is counted as PAYLOAD_LONG and freed. A datagram of several messages becomes a packet for
 * each, USH_PACKET_PACKED; those without handle are good until this is called again. ret: packets.
 * by: the queue's loop. cost: O(max).
 */
uint32_t ush_port_receive(struct ush_port_queue *queue, struct ush_packet *packets, uint32_t max);

/* Sends frames, after those that wait; what the device does not take now waits. Replies that are
 * USH_PACKET_PACKED leave together as far as they follow one another to one peer. Packets without
 * handle (see struct ush_packet) are copied into buffers of ours: if they are not PACKED, at least
 * USH_PACKET_KEPT_BYTES can be read at their data. in: count: at most USH_LOOP_SEND_MAX; the
 * packets are changed. by: the queue's loop. */
void ush_port_send(
	struct ush_port_queue *queue, struct ush_packet *packets, uint32_t count, uint64_t now_ns);

/* Sends what waits. ret: true if the queue may be given a turn. by: the queue's loop. */
bool ush_port_flush(struct ush_port_queue *queue, uint64_t now_ns);

/* Frees the buffers of packets. by: any EAL thread. */
void ush_port_free(const struct ush_packet *packets, uint32_t count);

/* A device's own counters. */
struct ush_port_counters {
	uint64_t rx_packets;
	uint64_t rx_bytes;
	uint64_t tx_packets;
	uint64_t tx_bytes;
	/* Lost because we were late; in error; for want of buffers. */
	uint64_t rx_missed;
	uint64_t rx_errors;
	uint64_t rx_no_buffer;
	uint64_t tx_errors;
	uint64_t link_ups;
	uint64_t link_downs;
};

/* by: any thread. */
void ush_port_counters_read(const struct ush_port *port, struct ush_port_counters *counters);

#endif /* USH_PORT_H */
