/* The front that libevent's own HTTP layer makes: one thread, GET and POST of any path answered with one text.
 * Usage: evhttp PORT TEXT. Built by bench/peers/front.py. */
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void answer(struct evhttp_request *request, void *argument)
{
    const char *text = argument;
    struct evbuffer *body = evbuffer_new();
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", "application/json");
    evbuffer_add(body, text, strlen(text));
    evhttp_send_reply(request, 200, "OK", body);
    evbuffer_free(body);
}

int main(int argc, char **argv)
{
    struct event_base *base = event_base_new();
    struct evhttp *http = base != NULL ? evhttp_new(base) : NULL;
    if (argc != 3 || http == NULL ||
        evhttp_bind_socket(http, "127.0.0.1", (unsigned short)strtoul(argv[1], NULL, 10)) != 0) {
        fprintf(stderr, "usage: evhttp PORT TEXT\n");
        return 2;
    }
    evhttp_set_gencb(http, answer, argv[2]);
    event_base_dispatch(base);
    evhttp_free(http);
    event_base_free(base);
    return 0;
}
