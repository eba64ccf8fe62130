/* Who may connect: the limits of all and of one address, and the table that counts addresses. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "server/admission.h"
#include "server/peer_table.h"

static struct sockaddr_storage address_of(const char *text)
{
    struct sockaddr_storage out = {0};
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
        memcpy(&out, &in, sizeof in);
    } else {
        cr_assert_eq(inet_pton(AF_INET6, text, &in6.sin6_addr), 1, "%s", text);
        memcpy(&out, &in6, sizeof in6);
    }
    return out;
}

static uint64_t peer(const char *text)
{
    struct sockaddr_storage address = address_of(text);
    return vr_admission_peer((const struct sockaddr *)&address);
}

static struct vr_place enter(struct vr_admission *admission, enum vr_port port, const char *text)
{
    struct sockaddr_storage address = address_of(text);
    return vr_admission_enter(admission, port, (const struct sockaddr *)&address);
}

Test(admission, one_address_is_an_ipv4_address_or_an_ipv6_network)
{
    struct sockaddr other = {.sa_family = AF_UNIX};
    cr_expect_eq(peer("192.0.2.1"), peer("::ffff:192.0.2.1"));
    cr_expect_neq(peer("192.0.2.1"), peer("192.0.2.2"));
    cr_expect_eq(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
    cr_expect_neq(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
    cr_expect_neq(peer("::1"), 0u);
    cr_expect_neq(peer("0.0.0.0"), 0u);
    cr_expect_eq(vr_admission_peer(&other), 0u);
}

Test(admission, places_are_counted_and_given_back)
{
    struct vr_admission *admission;
    struct vr_place place[4];
    cr_assert_eq(vr_admission_create(3, 0, &admission), VR_OK);
    for (uint32_t i = 0; i < 3; i++) {
        place[i] = enter(admission, VR_PORT_PUBLIC, "192.0.2.1");
        cr_expect_eq(place[i].verdict, VR_ADMISSION_OPEN);
    }
    place[3] = enter(admission, VR_PORT_PUBLIC, "192.0.2.2");
    cr_expect_eq(place[3].verdict, VR_ADMISSION_FULL);
    cr_expect_eq(vr_admission_count(admission, VR_PORT_PUBLIC), 3u);
    cr_expect_eq(enter(admission, VR_PORT_ADMIN, "127.0.0.1").verdict, VR_ADMISSION_OPEN);
    vr_admission_leave(admission, &place[3]);
    cr_expect_eq(vr_admission_count(admission, VR_PORT_PUBLIC), 3u, "a refusal held nobody's place");
    vr_admission_leave(admission, &place[0]);
    cr_expect_eq(enter(admission, VR_PORT_PUBLIC, "192.0.2.2").verdict, VR_ADMISSION_OPEN);
    vr_admission_destroy(admission);
}

Test(admission, a_flood_of_refusals_is_not_told)
{
    struct vr_admission *admission;
    struct vr_place place[VR_REFUSALS_MAX];
    cr_assert_eq(vr_admission_create(1, 0, &admission), VR_OK);
    cr_expect_eq(enter(admission, VR_PORT_PUBLIC, "192.0.2.1").verdict, VR_ADMISSION_OPEN);
    for (uint32_t i = 0; i < VR_REFUSALS_MAX; i++) {
        place[i] = enter(admission, VR_PORT_PUBLIC, "192.0.2.1");
        cr_assert_eq(place[i].verdict, VR_ADMISSION_FULL);
    }
    cr_expect_eq(enter(admission, VR_PORT_PUBLIC, "192.0.2.1").verdict, VR_ADMISSION_FLOOD);
    vr_admission_leave(admission, &place[0]);
    cr_expect_eq(enter(admission, VR_PORT_PUBLIC, "192.0.2.1").verdict, VR_ADMISSION_FULL);
    vr_admission_destroy(admission);
}

Test(admission, an_address_has_its_own_limit_on_the_public_port)
{
    struct vr_admission *admission;
    struct vr_place place[2];
    cr_assert_eq(vr_admission_create(100, 2, &admission), VR_OK);
    for (uint32_t i = 0; i < 2; i++) {
        place[i] = enter(admission, VR_PORT_PUBLIC, "192.0.2.1");
        cr_expect_eq(place[i].verdict, VR_ADMISSION_OPEN);
    }
    struct vr_place third = enter(admission, VR_PORT_PUBLIC, "::ffff:192.0.2.1");
    cr_expect_eq(third.verdict, VR_ADMISSION_ADDRESS);
    vr_admission_leave(admission, &third);
    cr_expect_eq(enter(admission, VR_PORT_PUBLIC, "192.0.2.3").verdict, VR_ADMISSION_OPEN);
    cr_expect_eq(enter(admission, VR_PORT_ADMIN, "192.0.2.1").verdict, VR_ADMISSION_OPEN);
    cr_expect_eq(vr_admission_count(admission, VR_PORT_PUBLIC), 3u);
    vr_admission_leave(admission, &place[0]);
    cr_expect_eq(enter(admission, VR_PORT_PUBLIC, "192.0.2.1").verdict, VR_ADMISSION_OPEN);
    cr_expect_eq(enter(admission, VR_PORT_PUBLIC, "192.0.2.1").verdict, VR_ADMISSION_ADDRESS);
    vr_admission_destroy(admission);
}

#define MOST 200u
#define PEERS 190u

/* Against plain counts, in a table that is as full as it gets. */
Test(peer_table, counts_like_a_plain_array)
{
    struct vr_peer_table *table;
    uint32_t count[PEERS + 1] = {0};
    uint32_t all = 0;
    cr_assert_eq(vr_peer_table_create(MOST, &table), VR_OK);
    srand(7);
    for (int step = 0; step < 200000; step++) {
        uint32_t who = 1 + (uint32_t)rand() % PEERS;
        if (all < MOST && rand() % 2 == 0) {
            all++;
            cr_assert_eq(vr_peer_table_add(table, who), ++count[who]);
        } else if (count[who] > 0) {
            all--;
            count[who]--;
            vr_peer_table_drop(table, who);
        }
        uint32_t other = 1 + (uint32_t)rand() % PEERS;
        cr_assert_eq(vr_peer_table_count(table, other), count[other]);
    }
    vr_peer_table_destroy(table);
}

/* Addresses come and go: none stays behind, or the table would be full after some hundreds. */
Test(peer_table, forgets_who_has_gone)
{
    struct vr_peer_table *table;
    cr_assert_eq(vr_peer_table_create(8, &table), VR_OK);
    for (uint64_t who = 1; who < 10000; who++) {
        cr_assert_eq(vr_peer_table_add(table, who), 1u);
        if (who > 8) {
            vr_peer_table_drop(table, who - 8);
            cr_assert_eq(vr_peer_table_count(table, who - 8), 0u);
        }
    }
    vr_peer_table_destroy(table);
}
