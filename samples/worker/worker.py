"""The worker process: logs a tick at a steady pace until it is told to stop."""

import os
import signal
import threading

import schedule


class Ticker:
    def __init__(self, say=print):
        self.ticks = 0
        self.say = say

    def tick(self):
        self.ticks += 1
        self.say(f"tick {self.ticks} of worker instance {os.environ.get('CF_INSTANCE_INDEX', '0')}")


def main():
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    ticker = Ticker(say=lambda text: print(text, flush=True))
    schedule.every(int(os.environ.get("TICK_SECONDS", "5"))).seconds.do(ticker.tick)
    ticker.tick()
    while not stop.wait(max(0, schedule.idle_seconds() or 0)):
        schedule.run_pending()
    print(f"stopping after {ticker.ticks} ticks", flush=True)


if __name__ == "__main__":
    main()
