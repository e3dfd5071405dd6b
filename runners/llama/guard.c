/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A limit on the time that a grammar may take. The engine recurses and copies in there, for some grammars without end, and cannot be asked
 * to stop: so an alarm ends the runner, after it has said why. hangar starts another; whoever sent the grammar gets the words.
 *
 * The handler runs while the thread that speaks to hangar is inside the engine, so nobody else is sending; and sending takes no memory.
 */
#include "runner.h"

#include "engine/wire.h"

#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

static int speak_to = -1;

/* Tells hangar and ends. */
static void on_alarm(int number)
{
    static const char words[] = "{\"code\":\"LIMIT\",\"message\":\"the grammar keeps the engine busy for too "
                                "long; a simpler one has fewer "
                                "alternatives that begin alike\"}";
    (void)number;
    (void)hg_wire_send(speak_to, HG_WIRE_FAIL, HG_STR(words), NULL, 0, NULL);
    _exit(1);
}

void hg_llama_guard(int fd, bool on)
{
    static bool installed;
    if (!installed) {
        struct sigaction action = {.sa_handler = on_alarm};
        sigemptyset(&action.sa_mask);
        installed = sigaction(SIGALRM, &action, NULL) == 0;
    }
    speak_to = fd;
    const struct itimerval limit = {.it_value = {.tv_sec = on ? HG_GRAMMAR_SECONDS : 0}};
    (void)setitimer(ITIMER_REAL, &limit, NULL);
}
