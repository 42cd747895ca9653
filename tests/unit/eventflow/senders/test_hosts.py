"""Addresses from which a sender's documents are accepted."""

import pytest

from eventflow.senders.hosts import is_pinned
from eventflow.senders.presets import SNS_HOSTS


@pytest.mark.parametrize(
    "host",
    [
        "sns.us-east-1.amazonaws.com",
        "sns.ap-southeast-2.amazonaws.com",
        "sns.eu-central-1.amazonaws.com",
        "sns.me-south-1.amazonaws.com",
        "sns.us-gov-west-1.amazonaws.com",
        "sns.cn-north-1.amazonaws.com.cn",
    ],
)
def test_every_region_of_sns_is_accepted(host: str) -> None:
    assert is_pinned(f"https://{host}/SimpleNotificationService-1.pem", SNS_HOSTS)


@pytest.mark.parametrize(
    "host",
    [
        "sns.s3.amazonaws.com",
        "sns.s3-us-west-2.amazonaws.com",
        "sns.s3-external-1.amazonaws.com",
        "sns.s3.cn-north-1.amazonaws.com.cn",
        "sns.s3.us-west-2.amazonaws.com",
        "sns.amazonaws.com",
    ],
)
def test_a_bucket_that_is_called_sns_is_not(host: str) -> None:
    """Anyone may have it, and could put a certificate there."""
    assert not is_pinned(f"https://{host}/SimpleNotificationService-1.pem", SNS_HOSTS)
