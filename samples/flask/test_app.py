import unittest

from app import app


class Pages(unittest.TestCase):
    def setUp(self):
        self.client = app.test_client()

    def test_front_page_names_the_sample(self):
        answer = self.client.get("/")

        self.assertEqual(answer.text, "flask sample, instance 0\n")

    def test_slow_waits_as_long_as_it_was_asked_to(self):
        answer = self.client.get("/slow?ms=5")

        self.assertEqual(answer.text, "waited 5 ms\n")


if __name__ == "__main__":
    unittest.main()
