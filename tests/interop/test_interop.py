"""Portcullis beside the released Hermes agent over one home: our dashboard with its gateway, and its dashboard with ours.

    python3 -m unittest discover -v -s tests/interop

Tests marked `@new` want what the second edition adds. They fail on an older binary, and say so.
"""
import fcntl
import functools
import json
import signal
import time
import unittest
from datetime import datetime, timedelta, timezone

from harness import (
    BINARY, Home, OurDashboard, OurGateway, Process, TheirDashboard, TheirGateway, can_unshare, eventually, install_hermes, skip,
)


def setUpModule():
    if not BINARY.exists():
        raise RuntimeError(f"{BINARY} is missing: build it, or set PORTCULLIS_BIN")
    install_hermes()


def new(test):
    """Wanted of the second edition; the first one fails."""
    @functools.wraps(test)
    def run(self):
        try:
            test(self)
        except (AssertionError, LookupError) as error:
            error.args = (f"NEW BEHAVIOUR, absent from binaries of the first edition: {error}",)
            raise
    return run


def from_now(seconds):
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat()


class Pair(unittest.TestCase):
    """One dashboard and one gateway for a class; every test begins undrained, idle and running."""

    @classmethod
    def setUpClass(cls):
        cls.home = Home()
        cls.addClassCleanup(cls.home.close)
        cls.gateway = cls.gateway_of(cls.home)
        cls.dashboard = cls.dashboard_of(cls.home)

    def setUp(self):
        self.dashboard.post({"action": "cancel", "force": True})
        self.home.clear()
        self.home.release()
        if not self.gateway.process.alive():
            self.gateway.start()
        eventually("the gateway runs and is idle", lambda: self.gateway.takes_turns() and not self.gateway.in_flight())

    def status_is(self, within=5.0, **wanted):
        """Waits until the dashboard's status has these values; how long it took."""
        begin = time.monotonic()
        seen = {}

        def look():
            seen.update(self.dashboard.status())
            return all(seen.get(key) == value for key, value in wanted.items())
        try:
            eventually(f"the status has {wanted}", look, within)
        except AssertionError as error:
            raise AssertionError(f"{error}; it has { {key: seen.get(key) for key in wanted} }") from None
        return time.monotonic() - begin

    def refuses(self):
        status, headers, body = self.gateway.take_turn()
        self.assertEqual(status, 503, body)
        self.assertIn("gateway_draining", json.dumps(body))
        self.assertEqual(headers["Retry-After"], "1")

    def takes_turns_again(self):
        eventually("turns are taken again", self.gateway.takes_turns, 5.0)

    def refuses_soon(self):
        eventually("turns are refused", lambda: not self.gateway.takes_turns(), 5.0)


class Checklist:
    """What must hold for both pairs."""

    def test_drain_from_begin_to_cancel(self):
        turn = self.gateway.held_turn()
        pid = self.home.state()["pid"]
        self.assertTrue(self.dashboard.drain()["draining"])

        # The original looks at the marker once a second, so half a second more for the look and the answer.
        took = self.status_is(gateway_running=True, gateway_state="draining", active_agents=1)
        self.assertLessEqual(took, 1.5 if self.gateway.whole_seconds else 1.0, "the drain was seen too late")
        self.refuses()
        self.assertIsNone(turn.answer, "the running turn was ended")

        self.home.release()
        status, _, body = turn.result()
        self.assertEqual(status, 200, body)
        self.assertIn("done", json.dumps(body))
        self.status_is(gateway_running=True, gateway_state="draining", active_agents=0, gateway_busy=False)
        self.assertEqual(self.home.state()["pid"], pid)
        self.assertTrue(self.gateway.process.alive())
        self.refuses()

        self.assertTrue(self.dashboard.cancel()["was_draining"])
        self.assertFalse(self.dashboard.cancel()["was_draining"], "cancel is idempotent")
        self.status_is(gateway_running=True, gateway_state="running")
        self.takes_turns_again()
        self.assertEqual(self.home.state()["pid"], pid)

    def test_the_gateway_starts_again_during_a_drain(self):
        self.dashboard.drain()
        self.status_is(gateway_state="draining")
        pid = self.home.state()["pid"]
        self.gateway.process.end()
        # The original leaves "running" in its file when a signal ended it.
        self.status_is(gateway_running=False, gateway_state="stopped")
        self.gateway.start()
        if not self.gateway.whole_seconds:
            self.refuses()  # from the first turn on
        self.status_is(gateway_running=True, gateway_state="draining")
        self.refuses()
        self.assertNotEqual(self.home.state()["pid"], pid)
        self.assertTrue(self.dashboard.cancel()["was_draining"])
        self.takes_turns_again()

    def test_a_marker_without_sense_drains_and_can_be_cancelled(self):
        for content in (b"", b"not json", b"null", b"[1]", b'{"action":"cancel"}'):
            with self.subTest(content=content):
                self.drains_until_cancelled(content)

    @new
    def test_an_empty_epoch_is_none(self):
        """The original writes it where it cannot read /proc."""
        self.drains_until_cancelled(b'{"action":"drain","epoch":""}')

    def drains_until_cancelled(self, content):
        self.home.mark(content)
        self.status_is(gateway_state="draining")
        self.refuses()
        self.assertTrue(self.dashboard.cancel()["was_draining"])
        self.takes_turns_again()

    def test_a_marker_of_another_epoch_is_ignored(self):
        self.home.mark({"action": "drain", "requested_at": from_now(0), "epoch": "another:1"})
        time.sleep(1.5)  # more than one look at it
        self.assertTrue(self.gateway.takes_turns())
        self.assertEqual(self.dashboard.status()["gateway_state"], "running")

    @new
    def test_a_symbolic_link_is_written_through(self):
        target = self.home.path / "marker-elsewhere"
        target.write_text(json.dumps({"epoch": "another:1"}))
        self.home.marker.symlink_to(target)
        self.dashboard.drain()
        self.assertTrue(self.home.marker.is_symlink())
        self.assertNotIn("another:1", target.read_text())
        self.refuses_soon()
        self.assertTrue(self.dashboard.cancel()["was_draining"])
        self.takes_turns_again()


class OurDashboardTheirGateway(Checklist, Pair):
    gateway_of, dashboard_of = TheirGateway, OurDashboard

    def test_drained_only_when_nothing_is_in_flight(self):
        turn = self.gateway.held_turn()
        self.dashboard.drain()
        self.status_is(gateway_state="draining", active_agents=1, drained=False)
        self.home.release()
        turn.result()
        self.status_is(gateway_state="draining", active_agents=0, drained=True)
        self.dashboard.cancel()
        self.status_is(gateway_state="running", drained=False)

    def test_what_their_gateway_cannot_read_is_never_called_drained(self):
        """The original takes these for no drain. Ours must not say "drained" while turns are taken, nor begin in vain."""
        kinds = {
            "directory": lambda: self.home.marker.mkdir(),
            "not UTF-8": lambda: self.home.mark(b'{"a":"\xff"}'),
            "dangling link": lambda: self.home.marker.symlink_to(self.home.path / "nowhere"),
        }
        for kind, make in kinds.items():
            with self.subTest(kind=kind):
                make()
                end = time.monotonic() + 1.5
                while time.monotonic() < end:
                    status = self.dashboard.status()
                    self.assertFalse(status["drained"] or status.get("quiesced") or status.get("acknowledged"), status)
                    time.sleep(0.1)
                self.assertTrue(self.gateway.takes_turns())
                code, answer = self.dashboard.post({"action": "drain"})
                if code == 200:
                    self.refuses_soon()
                else:
                    self.assertEqual(code, 500, answer)
                self.home.clear()
                (self.home.path / "nowhere").unlink(missing_ok=True)
                self.takes_turns_again()

    def test_a_planned_restart_is_75_and_the_drain_outlives_it(self):
        self.dashboard.drain()
        self.status_is(gateway_state="draining")
        self.assertEqual(self.gateway.process.end(signal.SIGUSR1), 75)
        self.status_is(gateway_running=False, gateway_state="stopped")
        self.gateway.start()
        self.status_is(gateway_running=True, gateway_state="draining")
        self.refuses()

    @new
    def test_our_dashboard_removes_an_expired_marker(self):
        """The original ignores `expires_at`: it would refuse turns for ever."""
        self.dashboard.drain(ttl_seconds=2)
        self.refuses_soon()
        eventually("the marker is removed", lambda: not self.home.marker.exists(), 6.0)
        self.takes_turns_again()
        self.status_is(gateway_state="running")
        self.assertFalse(self.dashboard.cancel()["was_draining"])

    @new
    def test_a_marker_that_expired_while_no_dashboard_ran_is_removed(self):
        self.home.mark({"action": "drain", "requested_at": from_now(-60), "expires_at": from_now(-30)})
        eventually("the marker is removed", lambda: not self.home.marker.exists(), 6.0)
        self.takes_turns_again()

    @new
    def test_two_owners(self):
        self.dashboard.drain(owner="image-update", reason="1.2.3")
        self.refuses_soon()
        answer = self.dashboard.drain(owner="operator", ttl_seconds=2)
        self.assertEqual({holder["owner"] for holder in answer["holders"]}, {"image-update", "operator"})
        eventually("the short lease ends", lambda: len(json.loads(self.home.marker.read_text())["holders"]) == 1, 6.0)
        self.dashboard.drain(owner="operator")
        self.dashboard.cancel(owner="image-update")
        time.sleep(1.5)  # more than one look at the marker
        self.refuses()
        self.dashboard.cancel(owner="operator")
        self.takes_turns_again()
        self.assertFalse(self.home.marker.exists())

    @new
    def test_force_ends_every_lease(self):
        self.dashboard.drain(owner="a")
        self.dashboard.drain(owner="b")
        self.refuses_soon()
        self.dashboard.cancel(owner="c")
        self.assertTrue(self.home.marker.exists(), "a stranger's cancel ended the leases of others")
        self.dashboard.cancel(owner="c", force=True)
        self.takes_turns_again()

    @new
    def test_begin_waits_for_their_gateway(self):
        turn = self.gateway.held_turn()
        answer = self.dashboard.drain(wait_seconds=10)
        self.assertTrue(answer["acknowledged"], answer)
        self.refuses()
        self.status_is(acknowledged=True, drained=False, quiesced=False, generation=answer["generation"])
        self.home.release()
        turn.result()
        self.status_is(acknowledged=True, drained=True, quiesced=True)
        self.assertGreater(self.dashboard.cancel(wait_seconds=10)["generation"], answer["generation"])
        self.assertTrue(self.gateway.takes_turns())

    @new
    def test_the_status_has_what_platforms_read(self):
        self.assertIsInstance(self.dashboard.status()["restart_drain_timeout"], (int, float))


class TheirDashboardOurGateway(Checklist, Pair):
    dashboard_of = TheirDashboard

    @staticmethod
    def gateway_of(home):
        # The original goes by the command line, and knows its own names alone.
        return OurGateway(home, name="hermes-gateway")

    def test_what_ours_cannot_read_drains(self):
        kinds = {
            "directory": lambda: self.home.marker.mkdir(),
            "not UTF-8": lambda: self.home.mark(b'{"a":"\xff"}'),
            "dangling link": lambda: self.home.marker.symlink_to(self.home.path / "nowhere"),
        }
        for kind, make in kinds.items():
            with self.subTest(kind=kind):
                make()
                self.status_is(gateway_state="draining")
                self.refuses()
                # Their cancel does not remove a directory.
                self.assertEqual(self.dashboard.cancel()["was_draining"], kind != "directory")
                self.home.clear()
                self.takes_turns_again()

    def test_our_gateway_goes_by_expires_at(self):
        marker = {"action": "drain", "requested_at": from_now(0), "principal": "x", "expires_at": from_now(2)}
        self.home.mark(marker)
        self.status_is(gateway_state="draining")
        self.refuses()
        self.status_is(gateway_state="running", within=6.0)
        self.takes_turns_again()

    def test_one_lease_of_two_is_enough(self):
        holders = [{"owner": owner, "principal": "x", "requested_at": from_now(-9), "expires_at": from_now(end)}
                   for owner, end in (("over", -3), ("alive", 60))]
        self.home.mark({"action": "drain", "requested_at": from_now(-9), "principal": "x", "expires_at": from_now(60),
                        "holders": holders, "generation": 7})
        self.status_is(gateway_state="draining")
        self.refuses()
        # Theirs knows of no owners: its begin writes over the leases, its cancel ends them all.
        self.dashboard.drain()
        self.refuses()
        self.assertTrue(self.dashboard.cancel()["was_draining"])
        self.takes_turns_again()

    @new
    def test_their_dashboard_sees_our_gateway_under_its_own_name(self):
        self.gateway.process.end()
        home = Home()
        self.addCleanup(home.close)
        OurGateway(home)
        dashboard = TheirDashboard(home)
        eventually("the gateway is running", lambda: dashboard.status()["gateway_running"], 5.0)
        self.assertEqual(dashboard.status()["gateway_state"], "running")


class Alone(unittest.TestCase):
    """Tests that need a home of their own."""

    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)

    def locked(self):
        """A process holds the original's lock, on the file at its path."""
        try:
            with open(self.home.path / "gateway.lock") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            pass
        return False


class MaximumAge(Alone):
    def test_their_drain_ends_at_our_maximum_age(self):
        self.home.close()
        self.home = Home(drain={"max_age_seconds": 2})
        self.addCleanup(self.home.close)
        gateway, dashboard = OurGateway(self.home), TheirDashboard(self.home)
        dashboard.drain()
        eventually("turns are refused", lambda: not gateway.takes_turns(), 2.0)
        eventually("turns are taken again", gateway.takes_turns, 6.0)


class OneGatewayAHome(Alone):
    """Either gateway keeps out of a home in which the other lives, and neither is held up by what a dead one left."""

    @new
    def test_ours_keeps_out_where_theirs_lives(self):
        theirs = TheirGateway(self.home)
        before = self.home.state()
        ours = OurGateway(self.home, wait=False)
        eventually("our gateway gives up", lambda: not ours.process.alive(), 10.0)
        self.assertNotEqual(ours.process.end(), 0)
        after = self.home.state()
        self.assertEqual((after["pid"], after["gateway_state"]), (before["pid"], "running"), ours.process.said())
        self.assertTrue(theirs.takes_turns())

    @new
    def test_theirs_keeps_out_where_ours_lives(self):
        ours = OurGateway(self.home)
        pid = self.home.state()["pid"]
        theirs = TheirGateway(self.home, wait=False)
        eventually("their gateway gives up", lambda: not theirs.process.alive(), 10.0)
        self.assertEqual(theirs.process.end(), 1)
        self.assertEqual(self.home.state()["pid"], pid)
        self.assertTrue(ours.takes_turns())

    @new
    def test_our_lock_survives_their_dashboard(self):
        """It removes `gateway.lock`, held or not, when the command line of the pid is none of its own."""
        OurGateway(self.home)
        self.assertTrue(self.locked(), "our gateway does not hold gateway.lock")
        dashboard = TheirDashboard(self.home)
        for _ in range(3):
            dashboard.status()
            time.sleep(1.1)  # its cache
        eventually("our gateway holds gateway.lock", self.locked, 3.0)

    def test_what_a_killed_gateway_left_holds_up_no_other(self):
        ours = OurGateway(self.home, name="hermes-gateway")
        ours.process.end(signal.SIGKILL)
        theirs = TheirGateway(self.home)
        self.assertTrue(theirs.takes_turns())
        theirs.process.end(signal.SIGKILL)
        self.assertTrue((self.home.path / "gateway.pid").exists())
        ours.start()
        self.assertTrue(ours.takes_turns())

    @new
    def test_what_our_gateway_left_does_not_spoil_their_drain(self):
        ours, dashboard = OurGateway(self.home), OurDashboard(self.home)
        dashboard.drain()
        eventually("drained", lambda: dashboard.status()["drained"], 5.0)
        ours.process.end()
        dashboard.cancel()
        theirs = TheirGateway(self.home)
        eventually("running", lambda: dashboard.status()["gateway_state"] == "running", 5.0)
        dashboard.drain()
        eventually("drained", lambda: dashboard.status()["drained"], 5.0)
        self.assertFalse(theirs.takes_turns())


class AnotherPidNamespace(Alone):
    """Two containers over one volume: the gateway's pid says nothing to the dashboard."""

    def setUp(self):
        if not can_unshare():
            skip("a pid namespace needs root and unshare; the drain across two namespaces was not tested")
        super().setUp()

    @new
    def test_ours_drains_theirs_or_says_that_it_cannot(self):
        gateway, dashboard = TheirGateway(self.home, namespace=True), OurDashboard(self.home)
        turn = gateway.held_turn()
        status = dashboard.status()
        self.assertNotEqual(status["gateway_state"], "stopped", "a live gateway is called stopped")
        code, answer = dashboard.post({"action": "drain", "wait_seconds": 5})
        if code == 200:
            eventually("what was answered with 200 holds: turns are refused", lambda: not gateway.takes_turns(), 5.0)
        else:
            self.assertGreaterEqual(code, 400, answer)
        status = dashboard.status()
        self.assertFalse(status["drained"] or status.get("quiesced"), f"a turn is in flight: {status}")
        self.home.release()
        turn.result()
        if code == 200:
            eventually("drained", lambda: dashboard.status()["drained"], 5.0)
            self.assertTrue(dashboard.cancel()["was_draining"])
            eventually("turns are taken again", gateway.takes_turns, 5.0)
        gateway.process.end(signal.SIGKILL)
        self.assertFalse(dashboard.status()["gateway_state"] == "running", "a dead gateway is called running")

    @new
    def test_our_gateway_keeps_its_lock_beside_their_dashboard(self):
        """Theirs cannot see the pid, and removes the lock file at every look."""
        OurGateway(self.home, namespace=True, name="hermes-gateway")
        dashboard = TheirDashboard(self.home)
        dashboard.status()
        eventually("our gateway holds gateway.lock", self.locked, 3.0)

    def test_a_marker_without_epoch_drains_our_gateway_there(self):
        """Their dashboard's own marker names the epoch of another namespace; both gateways take that for an old one."""
        gateway, dashboard = OurGateway(self.home, namespace=True), TheirDashboard(self.home)
        turn = gateway.held_turn()
        self.home.mark({"action": "drain", "requested_at": from_now(0)})
        # A turn that came before the marker is seen would be held as the first one is.
        eventually("it drains", lambda: self.home.state().get("gateway_state") == "draining", 3.0)
        self.assertFalse(gateway.takes_turns())
        self.home.release()
        self.assertEqual(turn.result()[0], 200)
        self.assertTrue(dashboard.cancel()["was_draining"])
        eventually("turns are taken again", gateway.takes_turns, 3.0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
