"""A real headless ComfyUI for tests, demo and benchmarks: start it, post graphs, follow them, fetch what they made."""

from .client import Client, Interrupted, NodeError, PromptRefused, Result
from .graph import Graph, Node
from .server import Server, ServerFailed, running_server

__all__ = [
    "Client",
    "Graph",
    "Interrupted",
    "Node",
    "NodeError",
    "PromptRefused",
    "Result",
    "Server",
    "ServerFailed",
    "running_server",
]
