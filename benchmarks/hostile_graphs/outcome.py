"""Posts a graph, and classifies its outcome, including whether an error message is clear."""

from dataclasses import dataclass

import aiohttp

from tests.comfyui import Client, Interrupted, NodeError, PromptRefused, ServerFailed

from .base_graphs import Graph

REFUSED, FAILED_CLEARLY, RAN, UNCLEAR, HUNG, DEAD = "refused", "failed_clearly", "ran", "unclear", "hung", "dead"
FAILED_IN_CORE = "failed_in_core"
OUTCOMES = (REFUSED, FAILED_CLEARLY, RAN, UNCLEAR, HUNG, DEAD)

TIME_LIMIT = 60.0
"""Seconds after which a graph counts as hung."""

CLEAR_TYPES = (
    "required_input_missing",
    "bad_linked_input",
    "return_type_mismatch",
    "invalid_input_type",
    "value_smaller_than_min",
    "value_bigger_than_max",
    "value_not_in_list",
    "custom_validation_failed",
    "dependency_cycle",
)
"""Types of ComfyUI's own validation errors whose messages explain the problem."""

PACK_FOLDER = "custom_nodes/prefgen"
WHOLE_GRAPH_TYPES = ("prompt_no_outputs", "missing_node_type", "invalid_prompt", "prompt_outputs_failed_validation")


@dataclass(frozen=True)
class Outcome:
    """The outcome of a posted graph.

    Attributes:
        kind: One of `OUTCOMES`, or `FAILED_IN_CORE` for an exception in a node that is not ours.
        message: The error message, or "" if the graph ran.
        executed: Whether the graph passed validation.
        in_our_code: Whether an exception passed through the pack's code.
    """

    kind: str
    message: str = ""
    executed: bool = False
    in_our_code: bool = False


def post(client: Client, graph: Graph, ours: set[str], time_limit: float = TIME_LIMIT) -> Outcome:
    """Post a graph, wait until it ends, and classify the outcome."""
    try:
        client.run(graph, timeout=time_limit)
    except PromptRefused as refusal:
        return Outcome(REFUSED if is_clear_refusal(refusal) else UNCLEAR, str(refusal))
    except NodeError as error:
        in_our_code = PACK_FOLDER in error.traceback  # a sampler runs our attention, for example
        if in_our_code or graph.get(error.node_id, {}).get("class_type") in ours:
            kind = FAILED_CLEARLY if is_clear_error(error) else UNCLEAR
        else:
            kind = FAILED_IN_CORE
        return Outcome(kind, str(error), executed=True, in_our_code=in_our_code)
    except (TimeoutError, Interrupted) as error:
        return Outcome(HUNG, str(error)[:300], executed=True)
    except (ServerFailed, aiohttp.ClientConnectionError) as error:
        return Outcome(DEAD, str(error)[-300:], executed=True)
    except aiohttp.ContentTypeError as error:  # the response is not JSON if ComfyUI's validation crashes
        return Outcome(UNCLEAR, f"HTTP {error.status}")
    return Outcome(RAN, executed=True)


def is_clear_refusal(refusal: PromptRefused) -> bool:
    """Return whether every error in a refusal is of a type whose message explains the problem."""
    errors = [error for node in refusal.errors.values() for error in node["errors"]]
    if not errors:
        return any(kind in str(refusal) for kind in WHOLE_GRAPH_TYPES) or "not found" in str(refusal)
    return all(error["type"] in CLEAR_TYPES for error in errors)


def is_clear_error(error: NodeError) -> bool:
    """Return whether an error has one of the pack's types, and a message of whole sentences on one line."""
    is_sentence = error.message.endswith(".") and " " in error.message and "\n" not in error.message
    return error.exception_type.startswith("prefgen.") and is_sentence
