"""The other known senders, one row each, in the order of their names. Pure.

Each row has the page of the sender that describes its scheme.
"""

from eventflow.senders.vocabulary import (
    FORM,
    Answer,
    Basic,
    Certificate,
    Condition,
    Ed25519,
    FormField,
    Handshake,
    Header,
    Hmac,
    Place,
    Pointer,
    Query,
    Sender,
    Text,
    Time,
    Token,
)

_OK = Answer(status=200, body="empty")
_NO_CONTENT = Answer(status=204, body="empty")
# By the beginnings of the regions, because a customer may have a bucket at sns.s3-external-1.amazonaws.com.
SNS_HOSTS = (
    *(f"sns.{area}-*-*.amazonaws.com" for area in ("af", "ap", "ca", "eu", "il", "me", "mx", "sa", "us", "us-gov")),
    "sns.cn-*-*.amazonaws.com.cn",
)
_DOCUSIGN_KEYS_MAX = 10
_ADYEN_ITEM = "/notificationItems/0/NotificationRequestItem"


def texts(*places: Place) -> tuple[Text, ...]:
    """Return the texts at these places; the first that is present counts."""
    return tuple(Text(parts=(place,)) for place in places)


def standard_webhooks(prefix: str) -> tuple[Hmac | Ed25519, ...]:
    """Return the schemes of Standard Webhooks in headers whose names begin with a prefix.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    return (
        Hmac(
            signature=Header(f"{prefix}-signature"),
            encoding="base64",
            separator=" ",
            prefix="v1,",
            signed="{id}.{timestamp}.{body}",
            fields={"id": Header(f"{prefix}-id")},
            timestamp=Header(f"{prefix}-timestamp"),
            key="whsec",
        ),
        Ed25519(
            signature=Header(f"{prefix}-signature"),
            encoding="base64",
            separator=" ",
            prefix="v1a,",
            signed="{id}.{timestamp}.{body}",
            fields={"id": Header(f"{prefix}-id")},
            timestamp=Header(f"{prefix}-timestamp"),
            key="whpk",
        ),
    )


def _only(place: Place, *absent: str) -> tuple[Text, ...]:
    """Return the text at a place, in requests in which nothing is at the pointers.

    An id in a request with several events is the id of one of them only. If the sender groups them anew when it sends
    them again, two requests with different events would have the same id.
    """
    return (Text(parts=(place,), when=_absent(*absent)),)


def _absent(*pointers: str) -> tuple[Condition, ...]:
    return tuple(Condition(place=Pointer(pointer), is_absent=True) for pointer in pointers)


def _equals(place: Place, value: str | int | list[object]) -> Condition:
    return Condition(place=place, equals=value)


def _adyen(name: str) -> Pointer:
    return Pointer(f"{_ADYEN_ITEM}/{name}")


def _hubspot_id(event: str) -> tuple[Place, ...]:
    """Return the parts of an id. HubSpot does not promise that its eventId alone is unique."""
    return tuple(Pointer(f"{event}/{name}") for name in ("eventId", "subscriptionId", "objectId", "occurredAt"))


PRESETS = (
    # https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures
    Sender(
        name="adyen",
        title="Adyen",
        credential="HMAC key of the webhook, in hex, under Developers > Webhooks",
        authentication=(
            Hmac(
                signature=_adyen("additionalData/hmacSignature"),
                encoding="base64",
                signed="{psp}:[{original}]:{account}:{reference}:{value}:{currency}:{code}:{success}",
                fields={
                    "psp": _adyen("pspReference"),
                    "original": _adyen("originalReference"),
                    "account": _adyen("merchantAccountCode"),
                    "reference": _adyen("merchantReference"),
                    "value": _adyen("amount/value"),
                    "currency": _adyen("amount/currency"),
                    "code": _adyen("eventCode"),
                    "success": _adyen("success"),
                },
                key="hex",
                signs_body=False,
                # Each item has a signature of its own, and an item that is not verified must not pass with another.
                when=_absent("/notificationItems/1"),
            ),
        ),
        answer=Answer(status=200, text="[accepted]"),
        id=(
            Text(
                parts=(_adyen("pspReference"), _adyen("eventCode"), _adyen("success")),
                suffix=_adyen("eventDate"),
                separator="-",
            ),
        ),
        type=texts(_adyen("eventCode")),
        source=texts(_adyen("merchantAccountCode")),
        time=(Time(place=_adyen("eventDate")),),
    ),
    # https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
    Sender(
        name="amazon-sns",
        title="Amazon SNS",
        credential="ARN of the topic, arn:aws:sns:...; signatures are checked with the certificate of Amazon",
        authentication=(
            Certificate(
                signature=Pointer("/Signature"),
                signed="Message\n{message}\nMessageId\n{id}\n[Subject\n{subject}\n][SubscribeURL\n{subscribe_url}\n]"
                "Timestamp\n{time}\n[Token\n{token}\n]TopicArn\n{topic}\nType\n{type}\n",
                fields={
                    "message": Pointer("/Message"),
                    "id": Pointer("/MessageId"),
                    "subject": Pointer("/Subject"),
                    "subscribe_url": Pointer("/SubscribeURL"),
                    "time": Pointer("/Timestamp"),
                    "token": Pointer("/Token"),
                    "topic": Pointer("/TopicArn"),
                    "type": Pointer("/Type"),
                },
                signs_body=False,
                certificate=Pointer("/SigningCertURL"),
                hosts=SNS_HOSTS,
                version=Pointer("/SignatureVersion"),
                algorithms={"1": "sha1", "2": "sha256"},
                secret=Pointer("/TopicArn"),
            ),
        ),
        handshakes=(
            Handshake(
                when=(_equals(Pointer("/Type"), "SubscriptionConfirmation"),),
                is_authenticated=True,
                visit=Pointer("/SubscribeURL"),
                visit_hosts=SNS_HOSTS,
            ),
            Handshake(when=(_equals(Pointer("/Type"), "UnsubscribeConfirmation"),), is_authenticated=True),
        ),
        answer=_OK,
        id=texts(Header("x-amz-sns-message-id"), Pointer("/MessageId")),
        type=texts(Pointer("/Type")),
        source=texts(Header("x-amz-sns-topic-arn"), Pointer("/TopicArn")),
        subject=texts(Pointer("/Subject")),
        time=(Time(place=Pointer("/Timestamp")),),
        is_known_by_headers=True,
    ),
    # https://developers.asana.com/docs/webhooks-guide
    Sender(
        name="asana",
        title="Asana",
        credential="X-Hook-Secret in Asana's answer when you create the webhook",
        authentication=(Hmac(signature=Header("X-Hook-Signature")),),
        handshakes=(
            Handshake(
                when=(Condition(place=Header("X-Hook-Secret")),),
                challenge=Header("X-Hook-Secret"),
                headers={"X-Hook-Secret": "{challenge}"},
            ),
            Handshake(when=(_equals(Pointer("/events"), []),), is_authenticated=True),  # its heartbeat
        ),
        answer=_OK,
        type=(Text(parts=(Pointer("/events/0/resource/resource_type"), Pointer("/events/0/action")), separator="."),),
        time=(Time(place=Pointer("/events/0/created_at")),),
    ),
    # https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema
    Sender(
        name="azure-event-grid",
        title="Azure Event Grid",
        credential="token of your choice; the endpoint is https://YOUR-HOST/events/FLOW?token=TOKEN",
        authentication=(Token(token=Query("token")),),
        handshakes=(
            Handshake(
                when=(_equals(Header("aeg-event-type"), "SubscriptionValidation"),),
                challenge=Pointer("/0/data/validationCode"),
                json={"validationResponse": "{challenge}"},
            ),
            Handshake(
                method="OPTIONS",
                when=(Condition(place=Header("WebHook-Request-Origin")),),
                challenge=Header("WebHook-Request-Origin"),
                headers={"WebHook-Allowed-Origin": "{challenge}", "WebHook-Allowed-Rate": "*", "Allow": "POST"},
            ),
        ),
        answer=_OK,
        # The places that begin with /0 are those of a request with one event, the others those of an element if the
        # endpoint has batch=1 in its query.
        id=(*_only(Pointer("/0/id"), "/1"), *texts(Pointer("/id"))),
        type=texts(Pointer("/0/eventType"), Pointer("/eventType")),
        source=texts(Pointer("/0/topic"), Pointer("/topic")),
        subject=texts(Pointer("/0/subject"), Pointer("/subject")),
        time=(Time(place=Pointer("/0/eventTime")), Time(place=Pointer("/eventTime"))),
    ),
    # https://www.rfc-editor.org/rfc/rfc7617
    Sender(
        name="basic",
        title="HTTP Basic authentication",
        credential="user and password, written user:password",
        authentication=(Basic(),),
    ),
    # https://www.rfc-editor.org/rfc/rfc6750
    Sender(
        name="bearer",
        title="a bearer token",
        credential="token that the sender puts into Authorization",
        authentication=(Token(token=Header("Authorization"), prefix="Bearer "),),
    ),
    # https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/
    Sender(
        name="bitbucket",
        title="Bitbucket",
        credential="secret of the webhook, under Repository settings > Webhooks",
        authentication=(Hmac(signature=Header("X-Hub-Signature"), prefix="sha256="),),
        id=texts(Header("X-Request-UUID")),  # proxies set it too, so it counts only in flows that verify Bitbucket
        type=texts(Header("X-Event-Key")),
        source=texts(Pointer("/repository/full_name")),
    ),
    # https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md
    Sender(
        name="cloudevents",
        title="CloudEvents webhooks",
        credential="token that the sender puts into Authorization, or into access_token in the query",
        authentication=(
            Token(token=Header("Authorization"), prefix="Bearer "),
            Token(token=Query("access_token")),
        ),
        handshakes=(
            Handshake(
                method="OPTIONS",
                when=(Condition(place=Header("WebHook-Request-Origin")),),
                challenge=Header("WebHook-Request-Origin"),
                headers={"WebHook-Allowed-Origin": "{challenge}", "WebHook-Allowed-Rate": "*", "Allow": "POST"},
            ),
        ),
    ),
    # https://discord.com/developers/docs/events/webhook-events and .../interactions/overview
    Sender(
        name="discord",
        title="Discord",
        credential="public key of the app, in hex, under General Information",
        authentication=(
            Ed25519(
                signature=Header("X-Signature-Ed25519"),
                signed="{timestamp}{body}",
                timestamp=Header("X-Signature-Timestamp"),
            ),
        ),
        handshakes=(
            Handshake(when=(_equals(Pointer("/type"), 0),), is_authenticated=True, status=204),  # of webhook events
            Handshake(  # of interactions; an event has the same number
                when=(_equals(Pointer("/type"), 1), Condition(place=Pointer("/event/type"), is_absent=True)),
                is_authenticated=True,
                json={"type": 1},
            ),
        ),
        answer=_NO_CONTENT,
        id=texts(Pointer("/id")),
        type=texts(Pointer("/event/type"), Pointer("/type")),
        source=texts(Pointer("/application_id")),
        time=(Time(place=Pointer("/event/timestamp")),),
    ),
    # https://developers.docusign.com/platform/webhooks/connect/validate/
    Sender(
        name="docusign",
        title="DocuSign Connect",
        credential="HMAC key of the account, under Connect > Connect Keys",
        # A signature for each key of the account, in the order of the keys.
        authentication=tuple(
            Hmac(signature=Header(f"X-DocuSign-Signature-{number}"), encoding="base64")
            for number in range(1, _DOCUSIGN_KEYS_MAX + 1)
        ),
        answer=_OK,
        id=(
            Text(
                parts=(Pointer("/data/envelopeId"), Pointer("/event"), Pointer("/generatedDateTime")),
                suffix=Pointer("/data/recipientId"),
                separator="-",
            ),
        ),
        type=texts(Pointer("/event")),
        source=texts(Pointer("/data/accountId")),
        time=(Time(place=Pointer("/generatedDateTime")),),
    ),
    # https://www.dropbox.com/developers/reference/webhooks
    Sender(
        name="dropbox",
        title="Dropbox",
        credential="app secret, in the App Console",
        authentication=(Hmac(signature=Header("X-Dropbox-Signature")),),
        handshakes=(
            Handshake(
                method="GET",
                when=(Condition(place=Query("challenge")),),
                challenge=Query("challenge"),
                text="{challenge}",
            ),
        ),
        answer=_OK,
    ),
    # https://docs.gitea.com/usage/webhooks
    Sender(
        name="gitea",
        title="Gitea and Forgejo",
        credential="secret of the webhook, under Settings > Webhooks",
        authentication=(Hmac(signature=Header("X-Gitea-Signature")),),
        id=texts(Header("X-Gitea-Delivery")),
        type=texts(Header("X-Gitea-Event")),
        source=texts(Pointer("/repository/full_name")),
        is_known_by_headers=True,
    ),
    # https://docs.gitlab.com/user/project/integrations/webhooks/
    Sender(
        name="gitlab",
        title="GitLab",
        credential="signing token of the webhook, under Settings > Webhooks; or its secret token",
        authentication=(*standard_webhooks("webhook")[:1], Token(token=Header("X-Gitlab-Token"))),
        # Not X-Gitlab-Event-UUID: webhooks that an earlier webhook has caused have the same.
        id=texts(Header("webhook-id"), Header("Idempotency-Key")),
        type=texts(Header("X-Gitlab-Event")),
        source=texts(Header("X-Gitlab-Instance")),
    ),
    # https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation
    Sender(
        name="hubspot",
        title="HubSpot",
        credential="client secret of the app",
        authentication=(
            Hmac(
                signature=Header("X-HubSpot-Signature-v3"),
                encoding="base64",
                signed="{method}{url}{body}{timestamp}",
                timestamp=Header("X-HubSpot-Request-Timestamp"),
                timestamp_format="unix_ms",
            ),
        ),
        answer=_OK,
        id=(
            Text(parts=_hubspot_id("/0"), separator="-", when=_absent("/1")),
            Text(parts=_hubspot_id(""), separator="-"),  # of an element, if the address has batch=1 in its query
        ),
        type=texts(Pointer("/0/subscriptionType"), Pointer("/subscriptionType")),
        source=texts(Pointer("/0/portalId"), Pointer("/portalId")),
        time=(
            Time(place=Pointer("/0/occurredAt"), format="unix_ms"),
            Time(place=Pointer("/occurredAt"), format="unix_ms"),
        ),
    ),
    # https://linear.app/developers/webhooks
    Sender(
        name="linear",
        title="Linear",
        credential="signing secret of the webhook, under Settings > API",
        authentication=(
            Hmac(
                signature=Header("Linear-Signature"),
                timestamp=Pointer("/webhookTimestamp"),
                timestamp_format="unix_ms",
            ),
        ),
        answer=_OK,
        id=texts(Header("Linear-Delivery")),
        type=(Text(parts=(Header("Linear-Event"),), suffix=Pointer("/action"), separator="."),),
        source=texts(Pointer("/organizationId")),
        time=(Time(place=Pointer("/createdAt")),),
        is_known_by_headers=True,
    ),
    # https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks
    Sender(
        name="mailgun",
        title="Mailgun",
        credential="HTTP webhook signing key, under Sending > Webhooks",
        authentication=(
            Hmac(
                signature=Pointer("/signature/signature"),
                signed="{timestamp}{token}",
                signs_body=False,
                timestamp=Pointer("/signature/timestamp"),
                fields={"token": Pointer("/signature/token")},
            ),
            Hmac(
                signature=FormField("signature"),
                signed="{timestamp}{token}",
                signs_body=False,
                timestamp=FormField("timestamp"),
                fields={"token": FormField("token")},
            ),
        ),
        answer=_OK,
        id=texts(Pointer("/event-data/id"), FormField("token")),
        type=texts(Pointer("/event-data/event"), FormField("event")),
        time=(Time(place=Pointer("/signature/timestamp"), format="unix_s"),),
    ),
    # https://mailchimp.com/developer/transactional/guides/track-respond-activity-webhooks/
    Sender(
        name="mandrill",
        title="Mailchimp Transactional (Mandrill)",
        credential="key of the webhook, under Settings > Webhooks",
        authentication=(
            Hmac(signature=Header("X-Mandrill-Signature"), algorithm="sha1", encoding="base64", signed="{url}{form}"),
        ),
        handshakes=(Handshake(method="HEAD"),),
        answer=_OK,
    ),
    # https://developers.facebook.com/docs/graph-api/webhooks/getting-started
    Sender(
        name="meta",
        title="Meta (WhatsApp, Messenger, Instagram, Facebook)",
        credential="app secret, under App settings > Basic",
        authentication=(Hmac(signature=Header("X-Hub-Signature-256"), prefix="sha256="),),
        handshakes=(
            Handshake(
                method="GET",
                when=(_equals(Query("hub.mode"), "subscribe"),),
                verify_token=Query("hub.verify_token"),
                challenge=Query("hub.challenge"),
                text="{challenge}",
            ),
        ),
        answer=_OK,
        id=(
            Text(
                parts=(
                    Pointer("/entry/0/changes/0/value/messages/0/id"),
                    Pointer("/entry/0/changes/0/value/metadata/phone_number_id"),
                ),
                separator="-",
                when=_absent("/entry/1", "/entry/0/changes/1", "/entry/0/changes/0/value/messages/1"),
            ),
            # A message that is deleted later has the same id then.
            *_only(
                Pointer("/entry/0/messaging/0/message/mid"),
                "/entry/1",
                "/entry/0/messaging/1",
                "/entry/0/messaging/0/message/is_deleted",
            ),
        ),
        type=(Text(parts=(Pointer("/object"),), suffix=Pointer("/entry/0/changes/0/field"), separator="."),),
        source=texts(Pointer("/entry/0/id")),
    ),
    # https://learn.microsoft.com/graph/change-notifications-delivery-webhooks
    Sender(
        name="microsoft-graph",
        title="Microsoft Graph",
        credential="clientState of your choice, which you give when you create the subscription",
        authentication=(Token(token=Pointer("/value/*/clientState")),),
        handshakes=(
            Handshake(
                when=(Condition(place=Query("validationToken")),),
                challenge=Query("validationToken"),
                text="{challenge}",
            ),
        ),
        id=_only(Pointer("/value/0/id"), "/value/1"),
        type=texts(Pointer("/value/0/changeType"), Pointer("/value/0/lifecycleEvent")),
        source=texts(Pointer("/value/0/subscriptionId")),
        subject=texts(Pointer("/value/0/resource")),
    ),
    # https://developer.paypal.com/api/rest/webhooks/rest/#link-verifywebhooks
    Sender(
        name="paypal",
        title="PayPal",
        credential="id of the webhook, in the app's settings; signatures are checked with the certificate of PayPal",
        authentication=(
            Certificate(
                signature=Header("PAYPAL-TRANSMISSION-SIG"),
                signed="{id}|{time}|{secret}|{body_crc32}",
                fields={"id": Header("PAYPAL-TRANSMISSION-ID"), "time": Header("PAYPAL-TRANSMISSION-TIME")},
                certificate=Header("PAYPAL-CERT-URL"),
                hosts=("api.paypal.com", "api.sandbox.paypal.com"),
                when=(_equals(Header("PAYPAL-AUTH-ALGO"), "SHA256withRSA"),),
            ),
        ),
        answer=_OK,
        id=texts(Pointer("/id")),
        type=texts(Pointer("/event_type")),
        time=(Time(place=Pointer("/create_time")),),
    ),
    # https://docs.slack.dev/authentication/verifying-requests-from-slack
    Sender(
        name="slack",
        title="Slack",
        credential="signing secret of the app, under Basic Information",
        authentication=(
            Hmac(
                signature=Header("X-Slack-Signature"),
                prefix="v0=",
                signed="v0:{timestamp}:{body}",
                timestamp=Header("X-Slack-Request-Timestamp"),
            ),
        ),
        handshakes=(
            Handshake(
                when=(_equals(Pointer("/type"), "url_verification"),),
                is_authenticated=True,
                challenge=Pointer("/challenge"),
                text="{challenge}",
            ),
        ),
        answer=_OK,
        id=texts(Pointer("/event_id")),
        type=texts(Pointer("/event/type"), Pointer("/type"), FormField("command")),
        source=texts(Pointer("/team_id"), FormField("team_id")),
        time=(Time(place=Pointer("/event_time"), format="unix_s"),),
    ),
    # https://developer.squareup.com/docs/webhooks/step3validate
    Sender(
        name="square",
        title="Square",
        credential="signature key of the subscription, under Webhooks > Subscriptions",
        authentication=(
            Hmac(signature=Header("x-square-hmacsha256-signature"), encoding="base64", signed="{url}{body}"),
        ),
        answer=_OK,
        id=texts(Pointer("/event_id")),
        type=texts(Pointer("/type")),
        source=texts(Pointer("/merchant_id")),
        time=(Time(place=Pointer("/created_at")),),
    ),
    # https://supabase.com/docs/guides/auth/auth-hooks
    Sender(
        name="supabase",
        title="Supabase",
        credential="secret of the hook, v1,whsec_..., under Authentication > Hooks",
        authentication=standard_webhooks("webhook"),
        answer=_NO_CONTENT,
        id=texts(Header("webhook-id")),
        time=(Time(place=Header("webhook-timestamp"), format="unix_s"),),
    ),
    # https://docs.svix.com/receiving/verifying-payloads/how-manual
    Sender(
        name="svix",
        title="Svix (Clerk, Resend and others)",
        credential="signing secret of the endpoint, whsec_...",
        authentication=standard_webhooks("svix"),
        id=texts(Header("svix-id")),
        type=texts(Pointer("/type")),
        time=(Time(place=Header("svix-timestamp"), format="unix_s"),),
        is_known_by_headers=True,
    ),
    Sender(
        name="token",
        title="a token in the query",
        credential="token that the sender puts into token in the query",
        authentication=(Token(token=Query("token")),),
    ),
    # https://developer.atlassian.com/cloud/trello/guides/rest-api/webhooks/
    Sender(
        name="trello",
        title="Trello",
        credential="secret of the app, under its API key",
        authentication=(
            Hmac(signature=Header("X-Trello-Webhook"), algorithm="sha1", encoding="base64", signed="{body}{url}"),
        ),
        handshakes=(Handshake(method="HEAD"),),
        answer=_OK,
        id=texts(Pointer("/action/id")),
        type=texts(Pointer("/action/type")),
        source=texts(Pointer("/model/id")),
        time=(Time(place=Pointer("/action/date")),),
    ),
    # https://www.twilio.com/docs/usage/webhooks/webhooks-security
    Sender(
        name="twilio",
        title="Twilio",
        credential="auth token of the account",
        authentication=(
            Hmac(
                signature=Header("X-Twilio-Signature"),
                algorithm="sha1",
                encoding="base64",
                signed="{url}{form}",
                when=(Condition(place=Header("Content-Type"), begins=FORM),),
            ),
            Hmac(
                signature=Header("X-Twilio-Signature"),
                algorithm="sha1",
                encoding="base64",
                signed="{url}",
                body_sha256=Query("bodySHA256"),
            ),
        ),
        answer=_NO_CONTENT,
        id=texts(Header("I-Twilio-Idempotency-Token")),
        source=texts(FormField("AccountSid")),
        type=texts(FormField("MessageStatus"), FormField("SmsStatus"), FormField("CallStatus")),
        subject=texts(FormField("MessageSid"), FormField("CallSid")),
        is_known_by_headers=True,
    ),
    # https://woocommerce.com/document/webhooks/
    Sender(
        name="woocommerce",
        title="WooCommerce",
        credential="secret of the webhook, under WooCommerce > Settings > Advanced > Webhooks",
        authentication=(Hmac(signature=Header("X-WC-Webhook-Signature"), encoding="base64"),),
        handshakes=(
            Handshake(  # its ping, which it does not sign
                when=(
                    Condition(place=Header("Content-Type"), begins=FORM),
                    Condition(place=Header("X-WC-Webhook-Signature"), is_absent=True),
                    Condition(place=FormField("webhook_id")),
                ),
            ),
        ),
        answer=_OK,
        # Two deliveries within one second have the same delivery id, so that of the object is needed too.
        id=(Text(parts=(Header("X-WC-Webhook-Delivery-ID"), Pointer("/id")), separator="-"),),
        type=texts(Header("X-WC-Webhook-Topic")),
        source=texts(Header("X-WC-Webhook-Source")),
        is_known_by_headers=True,
    ),
    # https://developer.xero.com/documentation/guides/webhooks/configuring-your-server
    Sender(
        name="xero",
        title="Xero",
        credential="webhooks key, under My Apps > Webhooks",
        authentication=(Hmac(signature=Header("x-xero-signature"), encoding="base64"),),
        handshakes=(Handshake(when=(_equals(Pointer("/events"), []),), is_authenticated=True),),  # intent to receive
        answer=_OK,
        id=(Text(parts=(Pointer("/firstEventSequence"), Pointer("/entropy")), separator="-"),),
        type=(Text(parts=(Pointer("/events/0/eventCategory"), Pointer("/events/0/eventType")), separator="."),),
        source=texts(Pointer("/events/0/tenantId")),
    ),
    # https://developer.zendesk.com/documentation/webhooks/verifying/
    Sender(
        name="zendesk",
        title="Zendesk",
        credential="signing secret of the webhook, under Admin Center > Apps and integrations > Webhooks",
        authentication=(
            Hmac(
                signature=Header("X-Zendesk-Webhook-Signature"),
                encoding="base64",
                signed="{timestamp}{body}",
                timestamp=Header("X-Zendesk-Webhook-Signature-Timestamp"),
                timestamp_format="rfc3339",
            ),
        ),
        id=texts(Header("X-Zendesk-Webhook-Invocation-Id")),
        type=texts(Pointer("/type")),
        subject=texts(Pointer("/subject")),
        source=texts(Header("X-Zendesk-Account-Id")),
        time=(Time(place=Pointer("/time")),),
    ),
    # https://developers.zoom.us/docs/api/webhooks/
    Sender(
        name="zoom",
        title="Zoom",
        credential="secret token of the app, under Features > Access",
        authentication=(
            Hmac(
                signature=Header("x-zm-signature"),
                prefix="v0=",
                signed="v0:{timestamp}:{body}",
                timestamp=Header("x-zm-request-timestamp"),
            ),
        ),
        handshakes=(
            Handshake(
                when=(_equals(Pointer("/event"), "endpoint.url_validation"),),
                is_authenticated=True,  # otherwise anyone could let us sign any text
                challenge=Pointer("/payload/plainToken"),
                digest="hex",
                json={"plainToken": "{challenge}", "encryptedToken": "{digest}"},
            ),
        ),
        answer=_OK,
        id=(
            Text(
                parts=(Pointer("/payload/object/uuid"), Pointer("/event"), Pointer("/event_ts")),
                suffix=Pointer("/payload/object/participant/participant_uuid"),
                separator="-",
            ),
        ),
        type=texts(Pointer("/event")),
        source=texts(Pointer("/payload/account_id")),
        time=(Time(place=Pointer("/event_ts"), format="unix_ms"),),
    ),
)
