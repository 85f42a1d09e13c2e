/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers in comments are the sections of docs/admission.md.
 */
#include <string.h>

#include "admit/golden.h"

static uint64_t load(const uint8_t *p, uint32_t bytes)
{
	uint64_t v = 0;

	for (uint32_t i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static uint32_t load_be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

/* Section 3. */
uint8_t ush_golden_class(uint8_t op)
{
	switch (op) {
	case USH_OP_STATUS:
	case USH_OP_QUERY_SECTION:
	case 12: /* POSITION */
		return USH_OP_CLASS_QUERY;
	case USH_OP_RELEASE:
	case USH_OP_QUERY_HOLD:
	case USH_OP_EXTEND:
	case USH_OP_SWAP:
		return USH_OP_CLASS_HOLD;
	case USH_OP_RESERVE:
	case USH_OP_RESERVE_BEST:
	case USH_OP_RESERVE_AREA:
		return USH_OP_CLASS_NEW_HOLD;
	case 10: /* JOIN */
	case 11: /* EXCHANGE */
	case USH_OP_WAIT_LIST:
		return USH_OP_CLASS_JOIN;
	default:
		return op >= 64 && op <= 127 ? USH_OP_CLASS_PRIVILEGED : USH_OP_CLASS_NONE;
	}
}

static bool ipv4_checksum_good(const uint8_t *ip)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < 20; i += 2)
		sum += load_be16(ip + i);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/* Section 4: from the UDP header on, which has `bytes` bytes with what follows. */
static uint8_t frame_udp(const struct ush_admit_config *config, const uint8_t *udp, uint32_t bytes)
{
	if (bytes < 8 || load_be16(udp + 4) != bytes)
		return USH_VERDICT_HEADER;
	if (load_be16(udp + 2) != config->udp_port)
		return USH_VERDICT_HOST;
	return USH_VERDICT_PASS;
}

/* Section 4. */
uint8_t ush_golden_frame(const struct ush_admit_config *config, const uint8_t *frame,
	uint32_t length, uint8_t source[16], uint32_t *payload_at, uint32_t *payload_bytes)
{
	const uint8_t *ip = frame + 14;
	uint32_t type, bytes, header_bytes;
	uint8_t verdict, protocol;

	if (length < 14)
		return USH_VERDICT_HEADER;
	type = load_be16(frame + 12);
	if (type == 0x0800) {
		if (length < 34 || ip[0] != 0x45)
			return USH_VERDICT_HEADER;
		bytes = load_be16(ip + 2);
		if (bytes < 20 || bytes > length - 14)
			return USH_VERDICT_HEADER;
		if (!ipv4_checksum_good(ip))
			return USH_VERDICT_HEADER;
		/* More fragments, or an offset. */
		if ((load_be16(ip + 6) & 0x3fff) != 0)
			return USH_VERDICT_HEADER;
		protocol = ip[9];
		header_bytes = 20;
		bytes -= 20;
	} else if (type == 0x86dd) {
		if (length < 54 || ip[0] >> 4 != 6)
			return USH_VERDICT_HEADER;
		bytes = load_be16(ip + 4);
		if (bytes > length - 54)
			return USH_VERDICT_HEADER;
		protocol = ip[6];
		header_bytes = 40;
	} else {
		return USH_VERDICT_HOST;
	}
	if (protocol != 17)
		return USH_VERDICT_HOST;
	verdict = frame_udp(config, ip + header_bytes, bytes);
	if (verdict != USH_VERDICT_PASS)
		return verdict;
	if (header_bytes == 20) {
		memset(source, 0, 10);
		memset(source + 10, 0xff, 2);
		memcpy(source + 12, ip + 12, 4);
	} else {
		memcpy(source, ip + 8, 16);
	}
	*payload_at = 14 + header_bytes + 8;
	*payload_bytes = bytes - 8;
	return USH_VERDICT_PASS;
}

/* Section 5. ret: verdict. */
static uint8_t check_envelope(const uint8_t *payload, uint32_t size)
{
	uint8_t class;

	if (size < USH_REQUEST_BYTES)
		return USH_VERDICT_PAYLOAD_SHORT;
	if (load(payload, 2) != USH_REQUEST_MAGIC)
		return USH_VERDICT_MAGIC;
	if (payload[2] != USH_VERSION)
		return USH_VERDICT_VERSION;
	if (size > USH_PAYLOAD_BYTES_MAX)
		return USH_VERDICT_PAYLOAD_LONG;
	if (load(payload + 4, 2) != size)
		return USH_VERDICT_SIZE;
	class = ush_golden_class(payload[3]);
	if (class == USH_OP_CLASS_NONE)
		return USH_VERDICT_OP;
	if (class == USH_OP_CLASS_PRIVILEGED)
		return USH_VERDICT_PRIVILEGED;
	return USH_VERDICT_PASS;
}

/* Section 6. ret: true if an extension of this type and size stands at `at`. */
static bool extension_at(
	const uint8_t *payload, uint32_t size, uint32_t at, uint8_t type, uint32_t bytes)
{
	return at + bytes <= size && payload[at] == type && payload[at + 1] == 0 &&
	       load(payload + at + 2, 2) == bytes;
}

/* Where the extensions stand; 0: not there. */
struct places {
	uint32_t token;
	uint32_t work;
	uint32_t client;
	uint32_t mac;
};

static void find_places(const uint8_t *payload, uint32_t size, struct places *places)
{
	uint32_t at = USH_REQUEST_BYTES;

	memset(places, 0, sizeof(*places));
	if (extension_at(payload, size, at, USH_EXTENSION_TOKEN, 32)) {
		places->token = at;
		at += 32;
	}
	if (extension_at(payload, size, at, USH_EXTENSION_WORK, 24)) {
		places->work = at;
		at += 24;
	}
	if (extension_at(payload, size, at, USH_EXTENSION_CLIENT, 24)) {
		places->client = at;
		at += 24;
	}
	if (at + 24 <= size && extension_at(payload, size, size - 24, USH_EXTENSION_MAC, 24))
		places->mac = size - 24;
}

static bool near(uint64_t time_ns, uint64_t now_ns, uint64_t window_ns)
{
	return time_ns >= now_ns ? time_ns - now_ns <= window_ns : now_ns - time_ns <= window_ns;
}

/* Section 7.1. */
static uint8_t check_mac(const struct ush_admit_config *config, const uint8_t *payload,
	uint32_t mac, uint64_t now_ns)
{
	uint32_t gateway = (uint32_t)load(payload + mac + 4, 2);
	uint32_t id = (uint32_t)load(payload + mac + 6, 2);
	const struct ush_admit_key *key = NULL;

	if (gateway >= USH_ADMIT_GATEWAY_COUNT)
		return USH_VERDICT_MAC_KEY;
	for (uint32_t i = 2; i-- > 0;) {
		if (config->gateway[gateway][i].live != 0 && config->gateway[gateway][i].id == id)
			key = &config->gateway[gateway][i];
	}
	if (key == NULL)
		return USH_VERDICT_MAC_KEY;
	if (!near(load(payload + mac + 8, 8), now_ns, config->mac_window_ns))
		return USH_VERDICT_MAC_TIME;
	if (ush_siphash(&key->key, payload, mac + 16) != load(payload + mac + 16, 8))
		return USH_VERDICT_MAC_FORGED;
	return USH_VERDICT_PASS;
}

/* Section 7.3. */
static uint8_t check_token(const struct ush_admit_config *config, const uint8_t *payload,
	uint32_t token, uint64_t now_ns)
{
	const struct ush_admit_key *key = NULL;

	if (token == 0)
		return USH_VERDICT_TOKEN_MISSING;
	for (uint32_t i = 2; i-- > 0;) {
		if (config->token[i].live != 0 && config->token[i].id == payload[token + 5])
			key = &config->token[i];
	}
	if (key == NULL)
		return USH_VERDICT_TOKEN_KEY;
	if (load(payload + token + 6, 2) != load(payload + 8, 4))
		return USH_VERDICT_TOKEN_EVENT;
	if (load(payload + token + 8, 8) != load(payload + 16, 8))
		return USH_VERDICT_TOKEN_USER;
	if (now_ns >= load(payload + token + 16, 8))
		return USH_VERDICT_TOKEN_EXPIRED;
	if (ush_siphash(&key->key, payload + token, 24) != load(payload + token + 24, 8))
		return USH_VERDICT_TOKEN_FORGED;
	return USH_VERDICT_PASS;
}

/* Section 7.5. */
static uint8_t check_work(const struct ush_admit_config *config,
	const struct ush_admit_policy *policy, const uint8_t *payload, uint32_t work,
	uint64_t now_ns, uint32_t bits)
{
	struct ush_key key = {load(payload + 16, 8), policy->work_salt};
	uint8_t data[24];

	if (work == 0)
		return USH_VERDICT_WORK_MISSING;
	if (load(payload + work + 4, 4) < bits)
		return USH_VERDICT_WORK_LOW;
	if (!near(load(payload + work + 8, 8), now_ns, config->work_window_ns))
		return USH_VERDICT_WORK_TIME;
	/* Event and request id as they stand in the request, time and nonce. */
	memcpy(data, payload + 8, 8);
	memcpy(data + 8, payload + work + 8, 16);
	if (ush_siphash(&key, data, sizeof(data)) >> (64 - bits) != 0)
		return USH_VERDICT_WORK_WRONG;
	return USH_VERDICT_PASS;
}

/* Section 8. ret: 0, or when the bucket would let it in. */
static uint64_t charge(struct ush_admit_table *table, const struct ush_admit_limit *limit,
	uint64_t hash, uint32_t request_id, uint64_t now_ns)
{
	struct ush_admit_set *set = &table->sets[hash & ((1ull << table->set_bits) - 1)];
	uint64_t until_ns = 0;
	uint32_t way = USH_ADMIT_WAYS;

	for (uint32_t i = USH_ADMIT_WAYS; i-- > 0;) {
		if (set->tag[i] >> 32 == hash >> 32)
			way = i;
	}
	if (way < USH_ADMIT_WAYS) {
		if (request_id != 0 && (uint32_t)set->tag[way] == request_id)
			return 0;
		until_ns = set->until_ns[way];
	} else {
		way = 0;
		for (uint32_t i = 1; i < USH_ADMIT_WAYS; i++) {
			if (set->until_ns[i] < set->until_ns[way])
				way = i;
		}
		if (set->until_ns[way] > now_ns)
			table->evicted++;
	}
	if (until_ns < now_ns)
		until_ns = now_ns;
	if (until_ns - now_ns > limit->tolerance_ns)
		return until_ns - limit->tolerance_ns;
	set->tag[way] = (hash >> 32) << 32 | request_id;
	set->until_ns[way] = until_ns + limit->interval_ns;
	return 0;
}

/* Section 8.1. */
static uint64_t source_hash(
	const struct ush_admit_config *config, const uint8_t address[16], bool hold)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	bool ipv4 = memcmp(address, mapped, sizeof(mapped)) == 0;
	uint64_t word = ipv4 ? load(address + 12, 4) : load(address, 8);
	uint64_t kind = (ipv4 ? 4u : 6u) | (hold ? 16u : 0u);

	return ush_siphash_2(&config->table_key, word, kind);
}

static uint8_t check_source(const struct ush_admit_config *config, struct ush_admit_state *state,
	const struct ush_admit_policy *policy, const uint8_t address[16], uint64_t now_ns,
	struct ush_admit_says *says)
{
	bool hold = says->op_class == USH_OP_CLASS_HOLD;
	const struct ush_admit_limit *limit = hold ? &policy->hold : &policy->source;

	if (limit->interval_ns == 0)
		return USH_VERDICT_PASS;
	says->retry_ns =
		charge(&state->sources, limit, source_hash(config, address, hold), 0, now_ns);
	return says->retry_ns == 0 ? USH_VERDICT_PASS : USH_VERDICT_SOURCE_RATE;
}

static uint8_t check_user(const struct ush_admit_config *config, struct ush_admit_state *state,
	const struct ush_admit_policy *policy, const uint8_t *payload, uint64_t now_ns,
	struct ush_admit_says *says)
{
	uint64_t hash = ush_siphash_2(
		&config->table_key, load(payload + 16, 8), 1ull << 32 | load(payload + 8, 4));

	if (policy->user.interval_ns == 0)
		return USH_VERDICT_PASS;
	says->retry_ns =
		charge(&state->users, &policy->user, hash, (uint32_t)load(payload + 12, 4), now_ns);
	return says->retry_ns == 0 ? USH_VERDICT_PASS : USH_VERDICT_USER_RATE;
}

/* Section 7.2. */
static uint8_t check_event(const struct ush_admit_config *config, uint8_t event, uint8_t class)
{
	if ((config->checks & USH_ADMISSION_CHECK_EVENT) != 0 &&
		(event & USH_ADMIT_EVENT_KNOWN) == 0)
		return USH_VERDICT_EVENT_UNKNOWN;
	if (class != USH_OP_CLASS_NEW_HOLD)
		return USH_VERDICT_PASS;
	if ((config->checks & USH_ADMISSION_CHECK_OPEN) != 0 && (event & USH_ADMIT_EVENT_OPEN) == 0)
		return USH_VERDICT_EVENT_CLOSED;
	if ((config->checks & USH_ADMISSION_CHECK_SOLD_OUT) != 0 &&
		(event & USH_ADMIT_EVENT_SOLD_OUT) != 0)
		return USH_VERDICT_EVENT_SOLD_OUT;
	return USH_VERDICT_PASS;
}

static uint32_t work_demanded(
	const struct ush_admit_policy *policy, const struct ush_admit_state *state, uint8_t class)
{
	uint64_t bits = (uint64_t)policy->work_bits + state->load_bits;

	if (policy->work_bits == 0 || class == USH_OP_CLASS_QUERY || class == USH_OP_CLASS_HOLD)
		return 0;
	return bits < USH_ADMIT_WORK_BITS_MAX ? (uint32_t)bits : USH_ADMIT_WORK_BITS_MAX;
}

/* Section 7: the checks that look at configuration and state. */
static uint8_t check_all(const struct ush_admit_config *config, struct ush_admit_state *state,
	const uint8_t source[16], const uint8_t *payload, uint32_t size, uint64_t now_ns,
	struct ush_admit_says *says)
{
	uint64_t number = load(payload + 8, 4);
	uint8_t event = number <= USH_EVENT_ID_MAX ? config->event[number] : 0;
	const struct ush_admit_policy *policy = &config->policy[event & USH_ADMIT_EVENT_POLICY];
	uint8_t class = says->op_class, verdict = USH_VERDICT_PASS;
	const uint8_t *address = source;
	uint32_t checks = config->checks;
	struct places at;

	find_places(payload, size, &at);
	if ((checks & USH_ADMISSION_CHECK_MAC) != 0) {
		if (at.mac != 0)
			verdict = check_mac(config, payload, at.mac, now_ns);
		else if (class != USH_OP_CLASS_QUERY)
			verdict = USH_VERDICT_MAC_MISSING;
		if (verdict != USH_VERDICT_PASS)
			return verdict;
		if (at.mac != 0 && at.client != 0)
			address = payload + at.client + 8;
	}
	/* STATUS of the box is about no event. */
	if (number != 0 || payload[3] != USH_OP_STATUS) {
		verdict = check_event(config, event, class);
		if (verdict != USH_VERDICT_PASS)
			return verdict;
	}
	if ((checks & USH_ADMISSION_CHECK_TOKEN) != 0 && class == USH_OP_CLASS_NEW_HOLD) {
		verdict = check_token(config, payload, at.token, now_ns);
		if (verdict != USH_VERDICT_PASS)
			return verdict;
		says->tier = payload[at.token + 4];
	}
	if ((checks & USH_ADMISSION_CHECK_SOURCE) != 0) {
		verdict = check_source(config, state, policy, address, now_ns, says);
		if (verdict != USH_VERDICT_PASS)
			return verdict;
	}
	says->work_bits =
		(checks & USH_ADMISSION_CHECK_WORK) != 0 ? work_demanded(policy, state, class) : 0;
	if (says->work_bits != 0) {
		verdict = check_work(config, policy, payload, at.work, now_ns, says->work_bits);
		if (verdict != USH_VERDICT_PASS)
			return verdict;
	}
	if ((checks & USH_ADMISSION_CHECK_USER) != 0 && class == USH_OP_CLASS_NEW_HOLD)
		return check_user(config, state, policy, payload, now_ns, says);
	return USH_VERDICT_PASS;
}

/* Section 9. ret: true if a refusal is answered. */
static bool refusal_answered(
	const struct ush_admit_config *config, struct ush_admit_state *state, uint64_t now_ns)
{
	uint64_t until_ns = state->refusal_until_ns;

	if (config->refusal.interval_ns == 0)
		return true;
	if (until_ns < now_ns)
		until_ns = now_ns;
	if (until_ns - now_ns > config->refusal.tolerance_ns)
		return false;
	state->refusal_until_ns = until_ns + config->refusal.interval_ns;
	return true;
}

void ush_golden_payload(const struct ush_admit_config *config, struct ush_admit_state *state,
	const uint8_t source[16], const uint8_t *payload, uint32_t size, uint64_t now_ns,
	struct ush_admit_says *says)
{
	memset(says, 0, sizeof(*says));
	says->verdict = check_envelope(payload, size);
	if (says->verdict == USH_VERDICT_PASS) {
		says->op_class = ush_golden_class(payload[3]);
		says->verdict = check_all(config, state, source, payload, size, now_ns, says);
	}
	switch (says->verdict) {
	case USH_VERDICT_PASS:
	/* No request at all: never answered. */
	case USH_VERDICT_PAYLOAD_SHORT:
	case USH_VERDICT_MAGIC:
	case USH_VERDICT_PAYLOAD_LONG:
	case USH_VERDICT_SIZE:
		break;
	default:
		says->reply = refusal_answered(config, state, now_ns);
		break;
	}
}

void ush_golden(const struct ush_admit_config *config, struct ush_admit_state *state,
	const uint8_t *frame, uint32_t length, uint64_t now_ns, struct ush_admit_says *says)
{
	uint8_t source[16];
	uint32_t payload_at = 0, payload_bytes = 0;
	uint8_t verdict =
		ush_golden_frame(config, frame, length, source, &payload_at, &payload_bytes);

	if (verdict == USH_VERDICT_PASS) {
		ush_golden_payload(
			config, state, source, frame + payload_at, payload_bytes, now_ns, says);
		return;
	}
	memset(says, 0, sizeof(*says));
	says->verdict = verdict;
}
