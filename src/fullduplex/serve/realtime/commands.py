"""What a client may ask for, and what that means to the core: decoded messages in, inputs of the core out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from fullduplex.base.units import VOICE_RATE_HZ
from fullduplex.dialogue import events as ev
from fullduplex.dialogue.policies.turns import TurnsPolicy
from fullduplex.dialogue.session import Session
from fullduplex.dialogue.turns import Floor
from fullduplex.recipes.runner import Runner
from fullduplex.serve.playhead import Playhead
from fullduplex.serve.realtime import wire
from fullduplex.serve.realtime.conversation import Conversation
from fullduplex.serve.realtime.door import WireError, shown
from fullduplex.serve.realtime.settings import Refusal, Settings, configured, updated

__all__ = ["Commands"]

_ANSWERING = (Floor.THINKING, Floor.SPEAKING, Floor.OVERLAP)


class Commands:
    """Obeys one client. `inputs` collects what the core is to be told with its next frame."""

    def __init__(self, runner: Runner, conversation: Conversation, playhead: Playhead) -> None:
        self.inputs: list[ev.Input] = []
        self.waits = False  # the client has asked for something and may send no more sound until it comes
        self._event_id: str | None = None
        self._runner = runner
        self._base: Session = runner.session
        self._conversation = conversation
        self._playhead = playhead
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            wire.Commit: self._commit,
            wire.ClearInputBuffer: self._clear_input,
            wire.ClearOutputBuffer: self._clear_output,
            wire.CreateItem: self._create_item,
            wire.Truncate: self._truncate,
            wire.DeleteItem: self._delete,
            wire.RetrieveItem: self._retrieve,
            wire.CreateResponse: self._respond,
            wire.CancelResponse: self._cancel,
            wire.UpdateSession: self._update,
            wire.Mark: self._played,
        }

    def obey(self, body: wire.Body, event_id: str | None = None) -> None:
        """One message that is not sound; `event_id` is what the client calls it.

        Raises:
            WireError: it cannot be done now, or not here.
        """
        self._event_id = event_id
        self._handlers[type(body)](body)

    def take_inputs(self) -> tuple[ev.Input, ...]:
        """What the core is to be told now."""
        inputs, self.inputs = tuple(self.inputs), []
        return inputs

    @property
    def _floor(self) -> Floor:
        return self._runner.state.floor

    @property
    def _answering(self) -> bool:
        """Is there a response, or will there be one as soon as the inputs have been taken?"""
        if any(isinstance(item, ev.Respond) for item in self.inputs):
            return True
        return self._floor in _ANSWERING and not any(isinstance(item, ev.StopSpeaking) for item in self.inputs)

    def _commit(self, body: wire.Commit) -> None:
        if self._floor not in (Floor.LISTENING, Floor.OVERLAP):
            raise WireError("there is no speech to commit", code="input_audio_buffer_commit_empty")
        self.inputs.append(ev.CommitInput())
        self.waits = True

    def _clear_input(self, body: wire.ClearInputBuffer) -> None:
        self.inputs.append(ev.ClearInput())
        self._conversation.emit("input_audio_buffer.cleared")

    def _clear_output(self, body: wire.ClearOutputBuffer) -> None:
        response = self._conversation.open
        if response is not None:
            self.inputs.append(ev.StopSpeaking())
            self._conversation.emit("output_audio_buffer.cleared", response_id=response.response_id)

    def _create_item(self, body: wire.CreateItem) -> None:
        self._conversation.add_item(body.role, body.text, body.item_id, body.previous)
        if body.role == "user":
            self.inputs.append(ev.Say(body.text, respond=False))
            return
        settings = self._conversation.settings
        instructions = f"{settings.instructions}\n{body.text}".strip()
        self._conversation.settings = replace(settings, instructions=instructions)
        self.inputs.append(ev.Instruct(instructions))

    def _truncate(self, body: wire.Truncate) -> None:
        utterance = self._conversation.utterance_of(body.item_id)
        samples = body.audio_end_ms * VOICE_RATE_HZ // 1000
        sent = self._conversation.sent_samples(body.item_id)
        if samples > sent:
            raise WireError(
                f"audio_end_ms is {body.audio_end_ms}; expected 0 to {sent * 1000 // VOICE_RATE_HZ}, "
                f"which is how much of item {body.item_id!r} was sent",
                code="invalid_value",
                param="audio_end_ms",
            )
        self.inputs += self._playhead.truncated(utterance, samples)
        self._conversation.truncated(body.item_id, body.content_index, body.audio_end_ms)

    def _delete(self, body: wire.DeleteItem) -> None:
        raise WireError(
            "items cannot be deleted here: the conversation is what was said and heard",
            code="unsupported_operation",
            param="item_id",
        )

    def _retrieve(self, body: wire.RetrieveItem) -> None:
        self._conversation.retrieved(body.item_id)

    def _respond(self, body: wire.CreateResponse) -> None:
        if self._answering:
            raise WireError(
                "there is an active response; cancel it first", code="conversation_already_has_active_response"
            )
        self._conversation.metadata = _response_params(body.params, self._conversation.settings)
        self.inputs.append(ev.Respond())
        self.waits = True

    def _cancel(self, body: wire.CancelResponse) -> None:
        response = self._conversation.open
        wrong = body.response_id is not None and response is not None and body.response_id != response.response_id
        if not self._answering or wrong:
            raise WireError("there is no such active response", code="response_cancel_not_active", param="response_id")
        self.inputs = [item for item in self.inputs if not isinstance(item, ev.Respond)]
        self.inputs.append(ev.StopSpeaking())
        self.waits = True

    def _played(self, mark: wire.Mark) -> None:
        if not self._conversation.settings.playback_acks:
            raise WireError(
                "announce this with session.update first: fullduplex.playback_acks",
                code="unsupported_operation",
                param="type",
            )
        utterance = self._conversation.utterance_of(mark.item_id)
        self.inputs.append(self._playhead.told(utterance, mark.epoch, mark.samples))

    def _update(self, body: wire.UpdateSession) -> None:
        before = self._conversation.settings
        after, refusals = updated(before, body.session)
        if after.turn != before.turn and not isinstance(self._base.policy, TurnsPolicy):
            after = replace(after, turn=before.turn)
            param = "session.audio.input.turn_detection"
            message = f"{param} cannot be changed: the policy {self._base.policy.name!r} of this server decides"
            refusals.append(Refusal(param, "unsupported_value", message))
        if after.instructions != before.instructions:
            self.inputs.append(ev.Instruct(after.instructions))
        self._runner.session = configured(self._base, after)
        self._conversation.session_updated(after)
        for refusal in refusals:
            self._conversation.refuse(refusal, self._event_id)


def _response_params(params: dict[str, Any], settings: Settings) -> dict[str, Any] | None:
    """The metadata of a response.

    Raises:
        WireError: something that this server does not do for one response alone.
    """
    same: dict[str, tuple[Any, ...]] = {
        "conversation": (None, "auto"),
        "output_modalities": (None, [settings.modality]),
        "instructions": (None, settings.instructions),
        "max_output_tokens": (None, settings.max_output_tokens or "inf"),
        "audio": (None, {}),
        "input": (None,),
        "tools": (None, []),
        "tool_choice": (None, "auto", "none"),
        "parallel_tool_calls": (None, True, False),
        "prompt": (None,),
        "reasoning": (None,),
    }
    metadata = params.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise WireError("response.metadata must be an object", code="invalid_type", param="response.metadata")
    for key, value in params.items():
        if key == "metadata":
            continue
        if key not in same:
            raise WireError(
                f"unknown parameter {shown(f'response.{key}')}",
                code="unknown_parameter",
                param=f"response.{key[:80]}",
            )
        if value not in same[key]:
            raise WireError(
                f"response.{key} cannot differ for one response here; set it with session.update",
                code="unsupported_value",
                param=f"response.{key}",
            )
    return cast("dict[str, Any] | None", metadata)
