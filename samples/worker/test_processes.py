import unittest

from web import application
from worker import Ticker


class Processes(unittest.TestCase):
    def test_front_page_names_the_sample(self):
        started = []

        body = application({}, lambda status, headers: started.append(status))

        self.assertEqual(started, ["200 OK"])
        self.assertTrue(body[0].startswith(b"worker sample, web instance 0"))

    def test_worker_counts_its_ticks(self):
        said = []
        ticker = Ticker(say=said.append)

        ticker.tick()
        ticker.tick()

        self.assertEqual(said[1], "tick 2 of worker instance 0")


if __name__ == "__main__":
    unittest.main()
