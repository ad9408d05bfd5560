/* SPDX-License-Identifier: MIT */
/* The commands of Mesa's virpipe driver: OpenGL. */
#ifndef PV_TRANSPORT_VTEST_OPENGL_H
#define PV_TRANSPORT_VTEST_OPENGL_H

#include "transport/vtest/client.h"

/* Mesa stops at 64 KiB. */
#define PV_VTEST_MAX_GL_SUBMIT_WORDS (1u << 20)

enum pv_status pv_vtest_get_caps(struct pv_vtest_client *client, const struct pv_vtest_message *message);
enum pv_status pv_vtest_resource_create(struct pv_vtest_client *client, const struct pv_vtest_message *message);
enum pv_status pv_vtest_transfer(struct pv_vtest_client *client, const struct pv_vtest_message *message);
enum pv_status pv_vtest_submit_gl(struct pv_vtest_client *client, const struct pv_vtest_message *message);
enum pv_status pv_vtest_busy_wait(struct pv_vtest_client *client, const struct pv_vtest_message *message);

#endif
