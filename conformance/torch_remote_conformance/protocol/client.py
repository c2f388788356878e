# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A client of the protocol that knows docs/PROTOCOL.md and nothing of the C++.

It keeps the page's rules for clients, and checks in every message that the executor keeps its own:
envelopes, sequences, acknowledgements, and that each token is answered once by the right kind of reply.
"""

import contextlib
import secrets
import struct
import time
from types import TracebackType

import zmq

from torch_remote_conformance.endpoint import Endpoint
from torch_remote_conformance.protocol import commands, replies
from torch_remote_conformance.protocol.replies import ANSWERS, FAILED, Answer, Failed
from torch_remote_conformance.protocol.wire import (
    Kind,
    Message,
    RefusedError,
    Welcome,
    envelope,
    expect,
    hello,
    message,
    welcome,
)

#: How long an answer may take on a busy machine or a far one.
ANSWER_S = 60.0
#: A token that is for synchronize() alone.
LAST_TOKEN = 0xFFFF_FFFF
_LAST_WORDS_MS = 1000
_PATIENCE_S = 0.5


class Client:
    """One session. Not thread-safe.

    Args:
        endpoint: of the executor, or its address alone.
        session: its number; any that is not 0.
        trusts_tokens: False for a client whose messages break the rules for tokens.
    """

    def __init__(
        self, endpoint: Endpoint | str, session: int | None = None, *, trusts_tokens: bool = True
    ) -> None:
        self.endpoint = Endpoint(endpoint) if isinstance(endpoint, str) else endpoint
        self.session = session or secrets.randbits(63) + 1
        #: Answers by token that answer() has not taken.
        self.answers: dict[int, Answer] = {}
        #: Failures that answer nothing, in their order.
        self.failures: list[Failed] = []
        #: The last sequence of commands, and of replies.
        self.sequence = 0
        self.acknowledged = 0
        #: The last sequence of commands that the executor has acknowledged.
        self.executed = 0
        self._trusts_tokens = trusts_tokens
        self._window: dict[int, tuple[bytes, ...]] = {}
        self._asked: dict[int, commands.Command] = {}
        self._resume_sent = False
        #: What had been taken when the executor began to repeat replies.
        self._resumed_at = -1
        self._seen = 0  # the highest sequence of replies, taken or not
        self._socket = self._connected()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Says goodbye. Nothing happens the second time."""
        if self._socket.closed:
            return
        self.send(Kind.GOODBYE)
        self._socket.close(linger=_LAST_WORDS_MS)

    # --- Sending ---------------------------------------------------------------------------------

    def open(self, body: bytes | None = None) -> Welcome:
        """Says hello, by default the plainest one. Raises RefusedError."""
        self.send_hello(body)
        return self.receive_welcome()

    def send_hello(self, body: bytes | None = None) -> None:
        """The first half of open()."""
        self.send(Kind.HELLO, hello() if body is None else body)

    def receive_welcome(self) -> Welcome:
        """The second."""
        return welcome(self.wait_for(Kind.WELCOME).body)

    def run(self, *body: bytes, payload: tuple[bytes, ...] = ()) -> None:
        """Sends one message of commands."""
        self.lose(*body, payload=payload)
        self._transmit(self.sequence)

    def lose(self, *body: bytes, payload: tuple[bytes, ...] = ()) -> None:
        """The same, but a broken connection takes the message: the executor sees it when it is sent again."""
        self.sequence += 1
        self._window[self.sequence] = (b"".join(body), *payload)
        for token, kind in commands.questions(self._window[self.sequence][0]):
            expect(not self._trusts_tokens or token not in self._asked, f"token {token} is in use")
            self._asked[token] = kind

    def send(self, kind: int, *frames: bytes, sequence: int = 0) -> None:
        """Sends a message as it is: nothing is counted, kept, or checked."""
        self.send_frames(envelope(kind, self.session, sequence, self.acknowledged), *frames)

    def send_frames(self, *frames: bytes) -> None:
        """The same with an envelope of the caller's."""
        self._socket.send_multipart(frames)

    def reconnect(self) -> None:
        """Breaks the connection, makes another with the same routing id, and resumes."""
        self._socket.close(linger=0)
        self._socket = self._connected()
        self._resumed_at = -1
        self.resume()

    def resume(self) -> None:
        """Asks what the executor expects, and for the replies behind what was acknowledged."""
        self._resume_sent = True
        self.send(Kind.RESUME)

    # --- Receiving -------------------------------------------------------------------------------

    def receive(self, timeout_s: float | None = None) -> Message:
        """The next message, checked but not handled; waits ANSWER_S by default.

        Raises:
            RefusedError: the session has ended.
            TimeoutError: the executor says nothing.
            ViolationError: the message breaks the protocol.
        """
        patience_s = ANSWER_S if timeout_s is None else timeout_s
        if not self._socket.poll(round(patience_s * 1000)):
            raise TimeoutError(f"the executor has said nothing for {patience_s:g} s")
        received = message(self._socket.recv_multipart())
        expect(
            received.session in (self.session, 0)
            if received.kind is Kind.REFUSED
            else received.session == self.session,
            f"a message of session {received.session} in {self.session}",
        )
        if received.kind is Kind.REFUSED:
            raise RefusedError(received.body)
        is_repeated = received.kind is Kind.REPLIES and received.sequence <= self._seen
        self._seen = max(self._seen, received.sequence if received.kind is Kind.REPLIES else 0)
        self._take_acknowledgement(received.acknowledged, is_repeated=is_repeated)
        return received

    def wait_for(self, kind: Kind) -> Message:
        """Handles what comes until a message of this kind, which is the last one. Raises as receive()."""
        while True:
            received = self.receive()
            self.handle(received)
            if received.kind is kind:
                return received

    def handle(self, received: Message) -> None:
        """Does what a client has to do about a message."""
        if received.kind is Kind.REPLIES:
            self._take_replies(received)
        elif received.kind is Kind.RESUMED:
            self._resume_sent = False
            self._resumed_at = self.acknowledged
            expect(
                self.executed < received.sequence <= self.sequence + 1,
                f"{received.sequence} is expected next, after {self.executed} of {self.sequence}",
            )
            for sequence in range(received.sequence, self.sequence + 1):
                self._transmit(sequence)

    def answer(self, token: int) -> Answer:
        """Waits for the answer to a token; None is that of synchronize. Raises as receive()."""
        while token not in self.answers:
            self.handle(self.receive())
        return self.answers.pop(token)

    def synchronize(self, token: int = LAST_TOKEN) -> None:
        """Returns when everything before has been computed. Raises as receive()."""
        self.run(commands.synchronize(token))
        expect(self.answer(token) is None, "synchronize that was not answered as usual")

    def read(self, storage: int, size: int, offset: int = 0, *, token: int = LAST_TOKEN) -> Answer:
        """The bytes of a storage, or why there are none."""
        self.run(commands.read(token, storage, size, offset))
        return self.answer(token)

    def refusal(self) -> RefusedError:
        """The refusal that the session ends with now; answers that come before it are taken.

        Raises:
            ViolationError: the session goes on.
        """
        self.sequence += 1
        body = commands.synchronize(LAST_TOKEN)
        self._asked[LAST_TOKEN] = commands.Command.SYNCHRONIZE
        self.send(Kind.COMMANDS, body, sequence=self.sequence)
        try:
            self.answer(LAST_TOKEN)
        except RefusedError as refused:
            return refused
        raise AssertionError("not refused: the session goes on")

    def outcome(self) -> RefusedError | None:
        """How the session has ended; None where it goes on and answers a resume. Raises TimeoutError."""
        deadline = time.monotonic() + ANSWER_S
        try:
            while time.monotonic() < deadline:
                self.resume()
                if self._resumes():
                    return None
        except RefusedError as refused:
            return refused
        raise TimeoutError(f"no answer for {ANSWER_S:g} s")

    def _resumes(self) -> bool:
        """Whether an answer to resume() comes soon; what comes before it is not handled."""
        with contextlib.suppress(TimeoutError):
            while self.receive(_PATIENCE_S).kind is not Kind.RESUMED:
                pass
            return True
        return False

    def ended(self) -> RefusedError:
        """What the executor answers to a session that has ended: nothing until it is put away, then a refusal.

        Raises:
            ViolationError: the session goes on.
            TimeoutError: there is no answer.
        """
        deadline = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline:
            self.send(Kind.RESUME)
            try:
                received = self.receive(_PATIENCE_S)
                expect(received.kind is not Kind.RESUMED, "the session goes on")
            except RefusedError as refused:
                return refused
            except TimeoutError:
                continue
        raise TimeoutError(f"a session that has ended got no answer for {ANSWER_S:g} s")

    # ---------------------------------------------------------------------------------------------

    def _connected(self) -> "zmq.Socket[bytes]":
        socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        socket.routing_id = b"s" + struct.pack("<Q", self.session)
        socket.linger = 0
        socket.sndhwm = socket.rcvhwm = 0
        self.endpoint.set_keys(socket)
        socket.connect(self.endpoint.address)
        return socket

    def _transmit(self, sequence: int) -> None:
        self.send(Kind.COMMANDS, *self._window[sequence], sequence=sequence)

    def _take_acknowledgement(self, acknowledged: int, *, is_repeated: bool) -> None:
        expect(acknowledged <= self.sequence, f"{acknowledged} of {self.sequence} acknowledged")
        if is_repeated:
            return  # it says what it said before
        expect(acknowledged >= self.executed, f"{acknowledged} after {self.executed} acknowledged")
        for sequence in range(self.executed + 1, acknowledged + 1):
            self._window.pop(sequence, None)
        self.executed = acknowledged

    def _take_replies(self, received: Message) -> None:
        if received.sequence <= self.acknowledged:
            return  # a duplicate
        if received.sequence > self.acknowledged + 1:
            if not self._resume_sent:  # a gap
                expect(
                    self._resumed_at != self.acknowledged,
                    f"replies {received.sequence} after {self.acknowledged} in a replay",
                )
                self.resume()
            return
        self.acknowledged = received.sequence
        for token, kind, answer in replies.replies(received):
            if token is None:
                assert isinstance(answer, Failed)
                self.failures.append(answer)
            else:
                self._take_answer(token, kind, answer)

    def _take_answer(self, token: int, kind: int, answer: Answer) -> None:
        if self._trusts_tokens:
            expect(token in self._asked, f"an answer to token {token}, which nothing waits for")
            question = self._asked[token]
            expect(kind in (ANSWERS[question], FAILED), f"{question.name} answered by kind {kind}")
        self._asked.pop(token, None)
        self.answers[token] = answer
