/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A burst, in order:
 *   1. envelope, places of the extensions, class, event: one line of the packet, no hash;
 *   2. MACs of those that have one;
 *   3. tokens: the cheap comparisons, then their tags, four at a time;
 *   4. hashes of sources and users, four at a time, and their lines fetched;
 *   5. packet by packet, in order of arrival: buckets, proof of work, the bucket of refusals.
 * Only step 5 changes anything, so that the steps before may be made in any order.
 *
 * Failure modes: none; whatever a packet says, there is a verdict.
 */
#include <string.h>

#include "admit/gate.h"

/* Once for processors with AVX2 and once for all others; chosen when the program starts, which a
 * sanitizer's runtime does not survive. */
#if defined(__x86_64__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
	!defined(__SANITIZE_THREAD__)
#define CLONES __attribute__((target_clones("avx2", "default")))
#else
#define CLONES
#endif

/* Four words side by side. */
#define LANES 4u
typedef uint64_t lanes __attribute__((vector_size(LANES * sizeof(uint64_t))));

/* What the steps leave for the next ones. */
struct work {
	/* Where the extensions stand; 0: not there. */
	uint16_t token;
	uint16_t work;
	uint16_t client;
	uint16_t mac;
	uint8_t event;
	/* Not refused yet. */
	uint8_t open;
	uint64_t source_hash;
	uint64_t user_hash;
};

USH_INLINE uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

USH_INLINE uint32_t load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

USH_INLINE uint16_t load16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

USH_INLINE uint64_t load_relaxed(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

USH_INLINE void store_relaxed(uint64_t *p, uint64_t value)
{
	__atomic_store_n(p, value, __ATOMIC_RELAXED);
}

/* ---- four tags at a time ---- */

/* A macro: no vector goes through an argument, whose place depends on the processor. */
#define ROTATE(x, bits) ((x) << (bits) | (x) >> (64 - (bits)))

struct sip {
	lanes v0, v1, v2, v3;
};

USH_INLINE void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = ROTATE(s->v1, 13) ^ s->v0;
	s->v0 = ROTATE(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = ROTATE(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = ROTATE(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = ROTATE(s->v1, 17) ^ s->v2;
	s->v2 = ROTATE(s->v2, 32);
}

USH_INLINE void sip_word(struct sip *s, const lanes *m)
{
	s->v3 ^= *m;
	sip_round(s);
	sip_round(s);
	s->v0 ^= *m;
}

USH_INLINE void sip_init(struct sip *s, const struct ush_key *const keys[LANES])
{
	lanes k0 = {keys[0]->k0, keys[1]->k0, keys[2]->k0, keys[3]->k0};
	lanes k1 = {keys[0]->k1, keys[1]->k1, keys[2]->k1, keys[3]->k1};

	s->v0 = k0 ^ 0x736f6d6570736575ull;
	s->v1 = k1 ^ 0x646f72616e646f6dull;
	s->v2 = k0 ^ 0x6c7967656e657261ull;
	s->v3 = k1 ^ 0x7465646279746573ull;
}

USH_INLINE void sip_finish(struct sip *s, uint32_t bytes, uint64_t out[LANES])
{
	uint64_t last = (uint64_t)bytes << 56;
	lanes tag;

	sip_word(s, &(lanes){last, last, last, last});
	s->v2 ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(s);
	tag = s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
	memcpy(out, &tag, sizeof(tag));
}

USH_INLINE void siphash_3(
	const struct ush_key *const keys[LANES], const uint64_t words[LANES][3], uint64_t *out)
{
	struct sip s;

	sip_init(&s, keys);
	for (uint32_t i = 0; i < 3; i++)
		sip_word(&s, &(lanes){words[0][i], words[1][i], words[2][i], words[3][i]});
	sip_finish(&s, 24, out);
}

void ush_gate_siphash_4(const struct ush_key *const keys[LANES], const uint64_t words[LANES][3],
	uint64_t out[LANES])
{
	siphash_3(keys, words, out);
}

/* ---- step 1: what a packet is ---- */

static const uint8_t op_class[256] = {
	[USH_OP_STATUS] = USH_OP_CLASS_QUERY,
	[USH_OP_QUERY_SECTION] = USH_OP_CLASS_QUERY,
	[12] = USH_OP_CLASS_QUERY,
	[USH_OP_RELEASE] = USH_OP_CLASS_HOLD,
	[USH_OP_QUERY_HOLD] = USH_OP_CLASS_HOLD,
	[USH_OP_EXTEND] = USH_OP_CLASS_HOLD,
	[USH_OP_SWAP] = USH_OP_CLASS_HOLD,
	[USH_OP_RESERVE] = USH_OP_CLASS_NEW_HOLD,
	[USH_OP_RESERVE_BEST] = USH_OP_CLASS_NEW_HOLD,
	[USH_OP_RESERVE_AREA] = USH_OP_CLASS_NEW_HOLD,
	[10] = USH_OP_CLASS_JOIN,
	[11] = USH_OP_CLASS_JOIN,
	[USH_OP_WAIT_LIST] = USH_OP_CLASS_JOIN,
	[64 ... 127] = USH_OP_CLASS_PRIVILEGED,
};

bool ush_gate_is_hold(uint8_t op)
{
	return op_class[op] == USH_OP_CLASS_HOLD;
}

USH_INLINE uint8_t envelope(const uint8_t *payload, uint32_t size)
{
	if (ush_unlikely(size < USH_REQUEST_BYTES))
		return USH_VERDICT_PAYLOAD_SHORT;
	if (ush_unlikely(load16(payload) != USH_REQUEST_MAGIC))
		return USH_VERDICT_MAGIC;
	if (ush_unlikely(payload[2] != USH_VERSION))
		return USH_VERDICT_VERSION;
	if (ush_unlikely(size > USH_PAYLOAD_BYTES_MAX))
		return USH_VERDICT_PAYLOAD_LONG;
	if (ush_unlikely(load16(payload + 4) != size))
		return USH_VERDICT_SIZE;
	if (ush_unlikely(op_class[payload[3]] == USH_OP_CLASS_NONE))
		return USH_VERDICT_OP;
	if (ush_unlikely(op_class[payload[3]] == USH_OP_CLASS_PRIVILEGED))
		return USH_VERDICT_PRIVILEGED;
	return USH_VERDICT_PASS;
}

/* ret: bytes of the extension if it stands at `at`, else 0: its type, a zero and its size are one
 * word. */
USH_INLINE uint32_t extension(
	const uint8_t *payload, uint32_t size, uint32_t at, uint32_t type, uint32_t bytes)
{
	return at + bytes <= size && load32(payload + at) == (type | bytes << 16) ? bytes : 0;
}

USH_INLINE void find(const uint8_t *payload, uint32_t size, struct work *w)
{
	uint32_t at = USH_REQUEST_BYTES, bytes;

	bytes = extension(payload, size, at, USH_EXTENSION_TOKEN, 32);
	w->token = (uint16_t)(bytes != 0 ? at : 0);
	at += bytes;
	bytes = extension(payload, size, at, USH_EXTENSION_WORK, 24);
	w->work = (uint16_t)(bytes != 0 ? at : 0);
	at += bytes;
	bytes = extension(payload, size, at, USH_EXTENSION_CLIENT, 24);
	w->client = (uint16_t)(bytes != 0 ? at : 0);
	at += bytes;
	w->mac = 0;
	if (at + 24 <= size && extension(payload, size, size - 24, USH_EXTENSION_MAC, 24) != 0)
		w->mac = (uint16_t)(size - 24);
}

USH_INLINE bool near(uint64_t time_ns, uint64_t now_ns, uint64_t window_ns)
{
	uint64_t apart = time_ns >= now_ns ? time_ns - now_ns : now_ns - time_ns;

	return apart <= window_ns;
}

/* ---- step 2: MACs ---- */

/* ret: the key with that id that is live, or NULL; the first of two. */
USH_INLINE const struct ush_admit_key *key_of(const struct ush_admit_key keys[2], uint32_t id)
{
	if (keys[0].id == id && keys[0].live != 0)
		return &keys[0];
	return keys[1].id == id && keys[1].live != 0 ? &keys[1] : NULL;
}

/* The whole message but the tag: words, and what is left of the last one. */
static uint8_t check_mac(const struct ush_admit_config *config, const uint8_t *payload,
	uint32_t mac, uint64_t now_ns)
{
	uint32_t value = load32(payload + mac + 4);
	uint32_t gateway = value & 0xffff, bytes = mac + 16, at;
	const struct ush_admit_key *key;
	uint64_t last = (uint64_t)bytes << 56;
	struct ush_sip s;

	if (gateway >= USH_ADMIT_GATEWAY_COUNT)
		return USH_VERDICT_MAC_KEY;
	key = key_of(config->gateway[gateway], value >> 16);
	if (key == NULL)
		return USH_VERDICT_MAC_KEY;
	if (!near(load64(payload + mac + 8), now_ns, config->mac_window_ns))
		return USH_VERDICT_MAC_TIME;
	ush_sip_init(&s, &key->key);
	for (at = 0; at + 8 <= bytes; at += 8)
		ush_sip_word(&s, load64(payload + at));
	for (uint32_t i = 0; at + i < bytes; i++)
		last |= (uint64_t)payload[at + i] << (8 * i);
	ush_sip_word(&s, last);
	return ush_sip_finish(&s) == load64(payload + bytes) ? USH_VERDICT_PASS
							     : USH_VERDICT_MAC_FORGED;
}

USH_INLINE uint8_t check_event(const struct ush_admit_config *config, const uint8_t *payload,
	uint8_t class, struct work *w)
{
	uint32_t number = load32(payload + 8);

	w->event = number <= USH_EVENT_ID_MAX
			   ? __atomic_load_n(&config->event[number], __ATOMIC_RELAXED)
			   : 0;
	if (number == 0 && payload[3] == USH_OP_STATUS)
		return USH_VERDICT_PASS;
	if ((config->checks & USH_ADMISSION_CHECK_EVENT) != 0 &&
		(w->event & USH_ADMIT_EVENT_KNOWN) == 0)
		return USH_VERDICT_EVENT_UNKNOWN;
	if (class != USH_OP_CLASS_NEW_HOLD)
		return USH_VERDICT_PASS;
	if ((config->checks & USH_ADMISSION_CHECK_OPEN) != 0 &&
		(w->event & USH_ADMIT_EVENT_OPEN) == 0)
		return USH_VERDICT_EVENT_CLOSED;
	if ((config->checks & USH_ADMISSION_CHECK_SOLD_OUT) != 0 &&
		(w->event & USH_ADMIT_EVENT_SOLD_OUT) != 0)
		return USH_VERDICT_EVENT_SOLD_OUT;
	return USH_VERDICT_PASS;
}

/* Steps 1 and 2. ret: verdict so far. */
USH_INLINE uint8_t first(const struct ush_admit_config *config, struct ush_gate_item *item,
	struct work *w, uint64_t now_ns)
{
	const uint8_t *payload = item->payload;
	uint8_t verdict = envelope(payload, item->size), class;

	if (ush_unlikely(verdict != USH_VERDICT_PASS))
		return verdict;
	class = op_class[payload[3]];
	item->says.op_class = class;
	find(payload, item->size, w);
	if ((config->checks & USH_ADMISSION_CHECK_MAC) != 0) {
		if (w->mac != 0)
			verdict = check_mac(config, payload, w->mac, now_ns);
		else if (class != USH_OP_CLASS_QUERY)
			verdict = USH_VERDICT_MAC_MISSING;
		if (ush_unlikely(verdict != USH_VERDICT_PASS))
			return verdict;
	}
	return check_event(config, payload, class, w);
}

/* ---- step 3: tokens ---- */

/* Tags that wait for their lanes to be full. */
struct tokens {
	const struct ush_key *keys[LANES];
	uint64_t words[LANES][3];
	uint64_t tags[LANES];
	struct ush_gate_item *items[LANES];
	struct work *works[LANES];
	uint32_t count;
};

static CLONES void token_tags(struct tokens *t)
{
	uint64_t tags[LANES];

	if (t->count == 0)
		return;
	for (uint32_t i = t->count; i < LANES; i++)
		t->keys[i] = t->keys[0];
	siphash_3(t->keys, t->words, tags);
	for (uint32_t i = 0; i < t->count; i++) {
		if (ush_likely(tags[i] == t->tags[i])) {
			t->items[i]->says.tier = t->items[i]->payload[t->works[i]->token + 4];
			continue;
		}
		t->items[i]->says.verdict = USH_VERDICT_TOKEN_FORGED;
		t->works[i]->open = 0;
	}
	t->count = 0;
}

/* The cheap comparisons; then its tag waits. */
USH_INLINE uint8_t token(const struct ush_admit_config *config, struct ush_gate_item *item,
	struct work *w, uint64_t now_ns, struct tokens *t)
{
	const uint8_t *payload = item->payload, *at = payload + w->token;
	const struct ush_admit_key *key;

	if (ush_unlikely(w->token == 0))
		return USH_VERDICT_TOKEN_MISSING;
	key = key_of(config->token, at[5]);
	if (ush_unlikely(key == NULL))
		return USH_VERDICT_TOKEN_KEY;
	if (ush_unlikely(load16(at + 6) != load32(payload + 8)))
		return USH_VERDICT_TOKEN_EVENT;
	if (ush_unlikely(load64(at + 8) != load64(payload + 16)))
		return USH_VERDICT_TOKEN_USER;
	if (ush_unlikely(now_ns >= load64(at + 16)))
		return USH_VERDICT_TOKEN_EXPIRED;
	t->keys[t->count] = &key->key;
	memcpy(t->words[t->count], at, sizeof(t->words[0]));
	t->tags[t->count] = load64(at + 24);
	t->items[t->count] = item;
	t->works[t->count++] = w;
	return USH_VERDICT_PASS;
}

static void check_tokens(const struct ush_admit_config *config, struct ush_gate_item *items,
	struct work *works, uint32_t count, uint64_t now_ns)
{
	struct tokens t;

	memset(&t, 0, sizeof(t));
	for (uint32_t i = 0; i < count; i++) {
		uint8_t verdict;
		if (works[i].open == 0 || items[i].says.op_class != USH_OP_CLASS_NEW_HOLD)
			continue;
		verdict = token(config, &items[i], &works[i], now_ns, &t);
		if (verdict != USH_VERDICT_PASS) {
			items[i].says.verdict = verdict;
			works[i].open = 0;
		}
		if (t.count == LANES)
			token_tags(&t);
	}
	token_tags(&t);
}

/* ---- step 4: where buckets are ---- */

/* Hashes that wait for their lanes to be full, and where they go. */
struct hashes {
	uint64_t a[LANES], b[LANES];
	uint64_t *out[LANES];
	uint32_t count;
};

static CLONES void hash_all(const struct ush_key *key, struct hashes *h)
{
	const struct ush_key *keys[LANES] = {key, key, key, key};
	uint64_t out[LANES];
	struct sip s;

	if (h->count == 0)
		return;
	sip_init(&s, keys);
	sip_word(&s, &(lanes){h->a[0], h->a[1], h->a[2], h->a[3]});
	sip_word(&s, &(lanes){h->b[0], h->b[1], h->b[2], h->b[3]});
	sip_finish(&s, 16, out);
	for (uint32_t i = 0; i < h->count; i++)
		*h->out[i] = out[i];
	h->count = 0;
}

USH_INLINE void hash_add(
	const struct ush_key *key, struct hashes *h, uint64_t a, uint64_t b, uint64_t *out)
{
	h->a[h->count] = a;
	h->b[h->count] = b;
	h->out[h->count++] = out;
	if (h->count == LANES)
		hash_all(key, h);
}

/* The address that is limited, as two words. */
USH_INLINE void source_words(
	const struct ush_gate_item *item, const struct work *w, bool mac, uint64_t *a, uint64_t *b)
{
	const uint8_t *address = item->source;
	uint32_t family = item->family;

	if (mac && w->mac != 0 && w->client != 0) {
		address = item->payload + w->client + 8;
		family = 6;
	}
	if (family == 6 && load64(address) == 0 && load32(address + 8) == 0xffff0000u) {
		address += 12;
		family = 4;
	}
	*a = family == 4 ? load32(address) : load64(address);
	*b = family | (item->says.op_class == USH_OP_CLASS_HOLD ? 16u : 0u);
}

USH_INLINE struct ush_admit_set *set_of(const struct ush_admit_table *table, uint64_t hash)
{
	return &table->sets[hash & ((1ull << table->set_bits) - 1)];
}

static void hash_items(const struct ush_admit_config *config, struct ush_gate_item *items,
	struct work *works, uint32_t count)
{
	bool source = (config->checks & USH_ADMISSION_CHECK_SOURCE) != 0;
	bool user = (config->checks & USH_ADMISSION_CHECK_USER) != 0;
	bool mac = (config->checks & USH_ADMISSION_CHECK_MAC) != 0;
	struct hashes h;
	uint64_t a, b;

	memset(&h, 0, sizeof(h));
	for (uint32_t i = 0; i < count; i++) {
		if (works[i].open == 0)
			continue;
		if (source) {
			source_words(&items[i], &works[i], mac, &a, &b);
			hash_add(&config->table_key, &h, a, b, &works[i].source_hash);
		}
		if (user && items[i].says.op_class == USH_OP_CLASS_NEW_HOLD)
			hash_add(&config->table_key, &h, load64(items[i].payload + 16),
				1ull << 32 | load32(items[i].payload + 8), &works[i].user_hash);
	}
	hash_all(&config->table_key, &h);
}

static void fetch_sets(const struct ush_gate *gate, const struct ush_admit_config *config,
	const struct work *works, uint32_t count)
{
	bool source = (config->checks & USH_ADMISSION_CHECK_SOURCE) != 0;
	bool user = (config->checks & USH_ADMISSION_CHECK_USER) != 0;

	for (uint32_t i = 0; i < count; i++) {
		if (works[i].open == 0)
			continue;
		if (source)
			ush_touch(set_of(&gate->state.sources, works[i].source_hash));
		if (user)
			ush_touch(set_of(&gate->state.users, works[i].user_hash));
	}
}

/* ---- step 5: what is charged ---- */

/* ret: 0, or when the bucket would let it in. */
USH_INLINE uint64_t charge(struct ush_admit_table *table, const struct ush_admit_limit *limit,
	uint64_t hash, uint32_t request_id, uint64_t now_ns)
{
	struct ush_admit_set *set = set_of(table, hash);
	uint64_t until_ns[USH_ADMIT_WAYS], tag = 0, until;
	uint32_t way = USH_ADMIT_WAYS, least = 0;

	for (uint32_t i = USH_ADMIT_WAYS; i-- > 0;) {
		uint64_t t = load_relaxed(&set->tag[i]);
		until_ns[i] = load_relaxed(&set->until_ns[i]);
		if ((t ^ hash) >> 32 == 0) {
			way = i;
			tag = t;
		}
	}
	if (ush_likely(way < USH_ADMIT_WAYS)) {
		if (request_id != 0 && (uint32_t)tag == request_id)
			return 0;
		until = until_ns[way];
	} else {
		for (uint32_t i = 1; i < USH_ADMIT_WAYS; i++)
			least = until_ns[i] < until_ns[least] ? i : least;
		way = least;
		if (until_ns[way] > now_ns)
			store_relaxed(&table->evicted, load_relaxed(&table->evicted) + 1);
		until = 0;
	}
	until = ush_max64(until, now_ns);
	if (until - now_ns > limit->tolerance_ns)
		return until - limit->tolerance_ns;
	store_relaxed(&set->tag[way], (hash >> 32) << 32 | request_id);
	store_relaxed(&set->until_ns[way], until + limit->interval_ns);
	return 0;
}

static uint8_t check_work(const struct ush_admit_config *config,
	const struct ush_admit_policy *policy, const uint8_t *payload, uint32_t at, uint32_t bits,
	uint64_t now_ns)
{
	struct ush_key key = {load64(payload + 16), policy->work_salt};
	struct ush_sip s;

	if (at == 0)
		return USH_VERDICT_WORK_MISSING;
	if (load32(payload + at + 4) < bits)
		return USH_VERDICT_WORK_LOW;
	if (!near(load64(payload + at + 8), now_ns, config->work_window_ns))
		return USH_VERDICT_WORK_TIME;
	ush_sip_init(&s, &key);
	ush_sip_word(&s, load64(payload + 8));
	ush_sip_word(&s, load64(payload + at + 8));
	ush_sip_word(&s, load64(payload + at + 16));
	ush_sip_word(&s, 24ull << 56);
	return ush_sip_finish(&s) >> (64 - bits) == 0 ? USH_VERDICT_PASS : USH_VERDICT_WORK_WRONG;
}

USH_INLINE uint32_t work_bits(const struct ush_gate *gate, const struct ush_admit_config *config,
	const struct ush_admit_policy *policy, uint8_t class)
{
	uint64_t bits;

	if (policy->work_bits == 0 || (config->checks & USH_ADMISSION_CHECK_WORK) == 0 ||
		class == USH_OP_CLASS_QUERY || class == USH_OP_CLASS_HOLD)
		return 0;
	bits = (uint64_t)policy->work_bits +
	       __atomic_load_n(&gate->state.load_bits, __ATOMIC_RELAXED);
	return (uint32_t)ush_min64(bits, USH_ADMIT_WORK_BITS_MAX);
}

USH_INLINE uint8_t last(struct ush_gate *gate, const struct ush_admit_config *config,
	struct ush_gate_item *item, const struct work *w, uint64_t now_ns)
{
	const struct ush_admit_policy *policy = &config->policy[w->event & USH_ADMIT_EVENT_POLICY];
	uint8_t class = item->says.op_class;
	const struct ush_admit_limit *source =
		class == USH_OP_CLASS_HOLD ? &policy->hold : &policy->source;
	struct ush_admit_says *says = &item->says;

	if ((config->checks & USH_ADMISSION_CHECK_SOURCE) != 0 && source->interval_ns != 0) {
		says->retry_ns = charge(&gate->state.sources, source, w->source_hash, 0, now_ns);
		if (ush_unlikely(says->retry_ns != 0))
			return USH_VERDICT_SOURCE_RATE;
	}
	says->work_bits = work_bits(gate, config, policy, class);
	if (says->work_bits != 0) {
		uint8_t verdict =
			check_work(config, policy, item->payload, w->work, says->work_bits, now_ns);
		if (verdict != USH_VERDICT_PASS)
			return verdict;
	}
	if ((config->checks & USH_ADMISSION_CHECK_USER) != 0 && class == USH_OP_CLASS_NEW_HOLD &&
		policy->user.interval_ns != 0) {
		says->retry_ns = charge(&gate->state.users, &policy->user, w->user_hash,
			load32(item->payload + 12), now_ns);
		if (ush_unlikely(says->retry_ns != 0))
			return USH_VERDICT_USER_RATE;
	}
	return USH_VERDICT_PASS;
}

/* ret: 1 if a refusal is answered. */
static uint8_t refusal(
	struct ush_gate *gate, const struct ush_admit_config *config, uint64_t now_ns)
{
	uint64_t until = ush_max64(load_relaxed(&gate->state.refusal_until_ns), now_ns);

	if (config->refusal.interval_ns == 0)
		return 1;
	if (until - now_ns > config->refusal.tolerance_ns)
		return 0;
	store_relaxed(&gate->state.refusal_until_ns, until + config->refusal.interval_ns);
	return 1;
}

/* No request at all: never answered. */
USH_INLINE bool silent(uint8_t verdict)
{
	return verdict == USH_VERDICT_PASS || verdict == USH_VERDICT_PAYLOAD_SHORT ||
	       verdict == USH_VERDICT_MAGIC || verdict == USH_VERDICT_PAYLOAD_LONG ||
	       verdict == USH_VERDICT_SIZE;
}

void ush_gate_judge(struct ush_gate *gate, const struct ush_admit_config *config,
	struct ush_gate_item *items, uint32_t count, uint64_t now_ns)
{
	struct work works[USH_GATE_BURST];
	uint32_t open = 0;

	USH_ASSERT(count <= USH_GATE_BURST);
	for (uint32_t i = 0; i < count; i++) {
		struct ush_gate_item *item = &items[i];
		if (i + 4 < count)
			USH_PREFETCH(items[i + 4].payload + USH_REQUEST_BYTES);
		item->says = (struct ush_admit_says){0};
		item->says.verdict = first(config, item, &works[i], now_ns);
		works[i].open = item->says.verdict == USH_VERDICT_PASS;
		works[i].source_hash = 0;
		works[i].user_hash = 0;
		open += works[i].open;
	}
	if (open != 0) {
		if ((config->checks & USH_ADMISSION_CHECK_TOKEN) != 0)
			check_tokens(config, items, works, count, now_ns);
		hash_items(config, items, works, count);
		fetch_sets(gate, config, works, count);
	}
	for (uint32_t i = 0; i < count; i++) {
		struct ush_admit_says *says = &items[i].says;
		if (works[i].open != 0)
			says->verdict = last(gate, config, &items[i], &works[i], now_ns);
		if (ush_unlikely(!silent(says->verdict)))
			says->reply = refusal(gate, config, now_ns);
	}
}

/* ---- set up ---- */

/* ret: the power of two of sets that hold so many buckets. */
static uint32_t set_bits(uint32_t count)
{
	uint32_t bits = 0;

	while (((uint64_t)USH_ADMIT_WAYS << bits) < count)
		bits++;
	return bits;
}

static size_t table_bytes(uint32_t count)
{
	return count == 0 ? 0 : sizeof(struct ush_admit_set) << set_bits(count);
}

size_t ush_gate_bytes(uint32_t source_count, uint32_t user_count)
{
	return table_bytes(source_count) + table_bytes(user_count);
}

void ush_gate_init(struct ush_gate *gate, void *memory, uint32_t source_count, uint32_t user_count)
{
	uint8_t *at = memory;

	memset(gate, 0, sizeof(*gate));
	gate->state.sources = (struct ush_admit_table){
		.sets = (void *)at,
		.set_bits = set_bits(source_count),
	};
	at += table_bytes(source_count);
	gate->state.users = (struct ush_admit_table){
		.sets = (void *)at,
		.set_bits = set_bits(user_count),
	};
}

void ush_gate_set(struct ush_gate *gate, const struct ush_admit_config *config)
{
	uint32_t next = atomic_load_explicit(&gate->current, memory_order_relaxed) + 1;
	struct ush_admit_config *to = &gate->config[next & 1];

	memcpy(to, config, offsetof(struct ush_admit_config, event));
	for (uint32_t i = 0; i <= USH_EVENT_ID_MAX; i++) {
		uint8_t policy = config->event[i] & USH_ADMIT_EVENT_POLICY;
		__atomic_fetch_and(
			&to->event[i], (uint8_t)~USH_ADMIT_EVENT_POLICY, __ATOMIC_RELAXED);
		__atomic_fetch_or(&to->event[i], policy, __ATOMIC_RELAXED);
	}
	/* Whoever sees the new number sees what it names. */
	atomic_store_explicit(&gate->current, next, memory_order_release);
	__atomic_store_n(&gate->on, 1, __ATOMIC_RELEASE);
}

void ush_gate_event(struct ush_gate *gate, uint32_t event)
{
	for (uint32_t i = 0; i < 2; i++)
		__atomic_fetch_or(
			&gate->config[i].event[event], USH_ADMIT_EVENT_KNOWN, __ATOMIC_RELAXED);
}
