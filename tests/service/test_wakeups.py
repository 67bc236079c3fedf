"""From other threads to the event loop."""

from __future__ import annotations

import asyncio
import threading

from jupyter_mlops.service.wakeups import Wakeups

WAIT = 30.0


def test_everything_that_other_threads_complete_arrives() -> None:
    async def wait_for_all() -> int:
        wakeups = Wakeups()
        expected = [wakeups.expect() for _ in range(2000)]
        threads = [
            threading.Thread(target=lambda part: [done() for _, done in part], args=(expected[start::4],))
            for start in range(4)
        ]
        for thread in threads:
            thread.start()
        waiting = [future for future, _ in expected]
        await asyncio.wait_for(asyncio.gather(*waiting), WAIT)
        for thread in threads:
            thread.join()
        # And again, when nobody is waiting for the first ones any more.
        last, done = wakeups.expect()
        threading.Thread(target=done).start()
        await asyncio.wait_for(last, WAIT)
        return sum(future.done() for future in waiting)

    assert asyncio.run(wait_for_all()) == 2000


def test_a_loop_that_is_closed_is_left_alone() -> None:
    async def expect() -> tuple[asyncio.Future[None], object]:
        return Wakeups().expect()

    waiting, done = asyncio.run(expect())
    done()  # type: ignore[operator]
    assert not waiting.done()


def test_a_caller_that_has_gone_disturbs_nobody() -> None:
    async def go_away() -> None:
        wakeups = Wakeups()
        gone, tell = wakeups.expect()
        gone.cancel()
        waiting, done = wakeups.expect()
        tell()
        done()
        await asyncio.wait_for(waiting, WAIT)

    asyncio.run(go_away())
