"""What people did, in words: the actions of the audit trail. One that is not listed reads as its own name."""

from __future__ import annotations

ACTIONS = {
    "user.signed_in": "Signed in",
    "user.sign_in_failed": "Sign-in failed",
    "user.signed_out": "Signed out",
    "user.created": "Person added",
    "user.changed": "Person changed",
    "user.deleted": "Person deleted",
    "user.password_changed": "Password changed",
    "user.permissions_changed": "Permissions changed",
    "tenant.created": "Tenant created",
    "tenant.changed": "Tenant changed",
    "tenant.deleted": "Tenant deleted",
    "tenant.suspended": "Tenant suspended",
    "tenant.resumed": "Tenant resumed",
    "tenant.held": "Legal hold began",
    "tenant.released": "Legal hold ended",
    "key.created": "Key issued",
    "key.changed": "Key changed",
    "key.deleted": "Key deleted",
    "key.revoked": "Key revoked",
    "key.rotated": "Key rotated",
    "key.secret_created": "Secret made",
    "key.secret_changed": "Secret changed",
    "key.secret_deleted": "Secret deleted",
    "budget.deleted": "Budget deleted",
    "alias.created": "Alias added",
    "alias.changed": "Alias changed",
    "alias.deleted": "Alias deleted",
    "budget.created": "Budget set",
    "budget.changed": "Budget changed",
    "budget.removed": "Budget removed",
    "price.created": "Price added",
    "price.changed": "Price changed",
    "price.deleted": "Price deleted",
    "installation.secret_remembered": "Secret of the site remembered",
    "audit.exported": "Audit trail exported",
    "records.sealed": "Requests of a day sealed",
    "records.supplemented": "Late requests sealed",
    "records.resealed": "Requests of a day sealed again",
    "records.closed": "Day closed",
    "records.pruned": "Requests pruned",
    "records.exported": "Requests exported",
    "payload.opened": "Payload opened",
}


def words(action: str) -> str:
    return ACTIONS.get(action) or action.replace(".", " ").replace("_", " ").capitalize()
