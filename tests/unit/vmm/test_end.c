/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/end.h"

#include <criterion/criterion.h>
#include <signal.h>

#include "memory/base.h"

Test(end, first_reason_stays)
{
	struct end end;

	end_init(&end);
	cr_expect(end_note(&end, END_TRIPLE_FAULT, 0, "vCPU 1"));
	cr_expect_not(end_note(&end, END_SIGNAL, SIGTERM, "late"));
	cr_expect_eq(end.reason, END_TRIPLE_FAULT);
	cr_expect_str_eq(end.detail, "vCPU 1");
	end_destroy(&end);
}

Test(end, each_reason_has_a_name_and_its_status)
{
	static const struct {
		enum end_reason reason;
		int status;
	} cases[] = {
		{ END_NONE, 1 },	  { END_POWER_OFF, 0 },
		{ END_RESET, 0 },	  { END_TRIPLE_FAULT, 4 },
		{ END_UNRECOVERABLE, 4 }, { END_PANIC, 4 },
		{ END_QUIT, 0 },	  { END_SIGNAL, 128 + SIGTERM },
		{ END_INTERNAL, 1 },	  { END_HOST, 3 },
	};
	struct end end;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		end_init(&end);
		end_note(&end, cases[i].reason, SIGTERM, NULL);
		cr_expect_eq(end_status(&end), cases[i].status, "%s",
			     end_reason_name(cases[i].reason));
		cr_expect_str_eq(end.detail, "");
		end_destroy(&end);
	}
}

Test(end, failed_last_flush_gives_1_where_it_would_have_been_0)
{
	static const struct {
		enum end_reason reason;
		int status;
	} cases[] = {
		{ END_POWER_OFF, 1 }, { END_RESET, 1 },
		{ END_QUIT, 1 },      { END_PANIC, 4 },
		{ END_HOST, 3 },      { END_SIGNAL, 128 + SIGTERM },
	};
	struct end end;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		end_init(&end);
		end_note(&end, cases[i].reason, SIGTERM, NULL);
		end.flush_failed = true;
		cr_expect_eq(end_status(&end), cases[i].status, "%s",
			     end_reason_name(cases[i].reason));
		end_destroy(&end);
	}
}
