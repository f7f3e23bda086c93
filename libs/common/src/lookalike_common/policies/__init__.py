"""The policies that run around every rpc, in the order in which they see a call."""

from lookalike_common.policies._policy import Call, Method, Policy
from lookalike_common.policies.access_log import AccessLogPolicy
from lookalike_common.policies.auth import AuthPolicy
from lookalike_common.policies.chain import PolicyChain
from lookalike_common.policies.errors import ErrorsPolicy
from lookalike_common.policies.limits import LimitsPolicy
from lookalike_common.policies.metrics import MetricsPolicy
from lookalike_common.policies.request_id import RequestIdPolicy
from lookalike_common.policies.tracing import TracingPolicy
from lookalike_common.policies.validation import ValidationPolicy

__all__ = [
    "AccessLogPolicy",
    "AuthPolicy",
    "Call",
    "ErrorsPolicy",
    "LimitsPolicy",
    "Method",
    "MetricsPolicy",
    "Policy",
    "PolicyChain",
    "RequestIdPolicy",
    "TracingPolicy",
    "ValidationPolicy",
]
