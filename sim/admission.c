/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission in a share of the runs: its configuration, and what clients carry for it, good and bad.
 * A client keeps its token; the MAC is its gateway's, made when the request is sent.
 */
#include "check.h"

#define TOKEN_KEY 3u
#define GATEWAY 2u
#define GATEWAY_KEY 9u
#define WINDOW_NS (2 * SIM_SECOND)

static struct ush_key key_of(const struct sim *sim, uint64_t what)
{
	return (struct ush_key){ush_mix64(sim->seed ^ what), ush_mix64(sim->seed + what)};
}

void sim_admission_config(const struct sim *sim, struct ush_admit_config *config)
{
	const struct sim_config *c = &sim->config;

	memset(config, 0, sizeof(*config));
	config->checks = c->admission;
	config->udp_port = USH_UDP_PORT;
	config->mac_window_ns = config->work_window_ns = WINDOW_NS;
	config->table_key = key_of(sim, 1);
	config->token[0] =
		(struct ush_admit_key){.key = key_of(sim, 2), .id = TOKEN_KEY, .live = 1};
	config->gateway[GATEWAY][1] =
		(struct ush_admit_key){.key = key_of(sim, 3), .id = GATEWAY_KEY, .live = 1};
	config->policy[0] = (struct ush_admit_policy){
		.source = {c->source_ms * 1000000ull, c->source_ms * 20000000ull},
		.hold = {c->source_ms * 1000000ull, c->source_ms * 40000000ull},
		.user = {c->user_ms * 1000000ull, c->user_ms * 4000000ull},
	};
	config->refusal = (struct ush_admit_limit){1000000, 20000000};
}

void sim_admission_draw(struct sim *sim, struct sim_ask *ask)
{
	static const uint8_t macs[] = {SIM_NONE, SIM_FORGED, SIM_KEY, SIM_LATE};

	if (sim->config.admission == 0 || ask->control)
		return;
	ask->token = sim_below(sim, 8) == 0 ? (uint8_t)sim_below(sim, SIM_CREDENTIALS) : SIM_GOOD;
	ask->mac = sim_below(sim, 16) == 0 ? macs[sim_below(sim, 4)] : SIM_GOOD;
	ask->token_end_ns = sim->now_ns + (sim_below(sim, 4) == 0 ? sim_below(sim, 2 * SIM_SECOND)
								  : 300 * SIM_SECOND);
	sim_room_token(sim, ask);
}

static void put_header(uint8_t *at, uint8_t type, uint16_t size, uint32_t value)
{
	struct ush_extension_header header = {.type = type, .size = size, .value = value};

	memcpy(at, &header, sizeof(header));
}

void sim_admission_put(const struct sim *sim, const struct sim_ask *ask,
	struct ush_request *request, uint8_t *payload)
{
	struct ush_key key = key_of(sim, ask->token == SIM_FORGED ? 4 : 2);
	uint64_t user = request->user + (ask->token == SIM_USER), tag;
	uint64_t end_ns = ask->token == SIM_LATE ? sim->now_ns / 2 : ask->token_end_ns;
	uint32_t id = ask->token == SIM_KEY ? TOKEN_KEY + 1 : TOKEN_KEY;
	uint32_t event = (uint16_t)(request->event + (ask->token == SIM_EVENT));
	uint8_t client[16] = {[10] = 0xff, [11] = 0xff, 10, 9, 0, (uint8_t)request->user};
	uint8_t *at = payload + request->size;

	if (sim->config.admission == 0 || ask->control)
		return;
	if (ask->token != SIM_NONE) {
		put_header(at, USH_EXTENSION_TOKEN, 32, 1u | id << 8 | event << 16);
		memcpy(at + 8, &user, 8);
		memcpy(at + 16, &end_ns, 8);
		tag = ush_siphash(&key, at, 24);
		if (ask->token == SIM_GIVEN) {
			memcpy(at + 4, &ask->token_value, 4);
			tag = ask->token_tag;
		}
		memcpy(at + 24, &tag, 8);
		request->size = (uint16_t)(request->size + 32);
		request->extension_count++;
		at += 32;
	}
	put_header(at, USH_EXTENSION_CLIENT, 24, 0);
	memcpy(at + 8, client, sizeof(client));
	request->size = (uint16_t)(request->size + 24);
	request->extension_count++;
}

uint64_t sim_admission_tag(const struct sim *sim, uint32_t value, uint64_t user, uint64_t end_ns)
{
	struct ush_key key = key_of(sim, 2);
	uint8_t token[24];

	if (sim->config.admission == 0)
		return (value >> 8 & 0xff) == 0 ? 0 : UINT64_MAX;
	put_header(token, USH_EXTENSION_TOKEN, 32, value);
	memcpy(token + 8, &user, 8);
	memcpy(token + 16, &end_ns, 8);
	return (value >> 8 & 0xff) == TOKEN_KEY ? ush_siphash(&key, token, 24) : UINT64_MAX;
}

void sim_admission_sign(const struct sim *sim, const struct sim_ask *ask,
	struct ush_request *request, uint8_t *payload)
{
	struct ush_key key = key_of(sim, ask->mac == SIM_FORGED ? 5 : 3);
	uint64_t time_ns = sim->now_ns - (ask->mac == SIM_LATE ? WINDOW_NS + SIM_SECOND : 0), tag;
	uint8_t *at = payload + request->size;

	if (sim->config.admission == 0 || ask->control || ask->mac == SIM_NONE)
		return;
	put_header(
		at, USH_EXTENSION_MAC, 24, GATEWAY | (GATEWAY_KEY + (ask->mac == SIM_KEY)) << 16);
	memcpy(at + 8, &time_ns, 8);
	request->size = (uint16_t)(request->size + 24);
	request->extension_count++;
	memcpy(payload, request, sizeof(*request));
	tag = ush_siphash(&key, payload, (size_t)(at - payload) + 16);
	memcpy(at + 16, &tag, 8);
}

bool sim_admission_refused(const struct sim *sim, uint8_t status)
{
	return sim->config.admission != 0 &&
	       (status == USH_STATUS_MAC || status == USH_STATUS_TOKEN ||
		       status == USH_STATUS_RATE);
}
