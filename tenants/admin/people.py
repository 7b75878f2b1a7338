"""People who may open the console. Someone who leaves is deactivated: what they did stays in the history."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserCreationForm
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString

from tenants.admin import lost_factor, shown
from tenants.admin.forms import GivenPasswordForm
from tenants.admin.lost_factor import LostFactorAdmin
from tenants.admin.verbs import Verb, VerbAdmin
from tenants.models import Membership, User
from tenants.provider_accounts import let_go
from tenants.roles import Role

# Importing UserAdmin registered it; roles come with a page of their own.
admin.site.unregister(Group)

POWERS = ["is_active", "is_staff", "role"]
ABOVE_ROLES = ["is_superuser", "user_permissions"]
WORDS = {  # label and help, in place of Django's
    "is_active": ("Active", "Off: cannot sign in. Use this in place of deleting."),
    "is_staff": ("May open the console", ""),
    "role": ("Role on the whole site", "None: only what is given at single tenants, below."),
    "is_superuser": ("Superuser", "May do what no role may. Daily work needs none."),
    "must_change_password": ("Must choose a new password", "Before anything else, at the next sign-in."),
    "user_permissions": ("Permissions", "On the whole site, beside what the role gives."),
}


LET_GO: Verb[User] = Verb(
    name="let-go-of-account",
    title="Let go of someone's account at the provider",
    warning="Whichever account with their e-mail address comes next through single sign-on is theirs from then on.",
    past="Let go of the account at the provider",
    act=lambda person, reason, by: let_go(person, reason),
    applies=lambda person: person.provider_accounts.exists(),
)


class MembershipInline(admin.TabularInline):  # type: ignore[type-arg]
    """The tenants that someone looks after."""

    model = Membership
    extra = 1
    verbose_name, verbose_name_plural = "tenant", "At single tenants"
    fields = ("tenant", "role")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Tenants are a plain choice, without the ways to make or change one from here."""
        if db_field.is_relation:
            return db_field.formfield(empty_label="Choose a tenant…", **kwargs)
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _hands_out_power(request, obj)

    has_change_permission = has_delete_permission = has_add_permission

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("tenants.view_user")


@admin.register(User)
class PersonAdmin(LostFactorAdmin, VerbAdmin[User], UserAdmin):  # type: ignore[type-arg]
    section = "People"
    add_title = "Add a person"
    verbs = (LET_GO,)
    add_form = UserCreationForm
    add_form_template = None
    change_password_form = GivenPasswordForm

    inlines = (MembershipInline,)

    list_display = ("username", "full_name", "email", "may", "state", "factor", "last_seen")
    list_filter = ()
    search_fields = ("username", "first_name", "last_name", "email")
    filter_horizontal = ("user_permissions",)
    fieldsets = (
        (None, {"fields": ("username", "first_name", "last_name", "email")}),
        ("Access", {"fields": ("role", "is_active", "is_staff", "must_change_password")}),
        ("Beyond roles", {"fields": ("is_superuser", "user_permissions"), "classes": ("collapse",)}),
        ("Facts", {"fields": ("factor", "last_seen", "joined")}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "email", "password1", "password2")}),
        ("Access", {"fields": ("role", "is_staff", "must_change_password")}),
    )

    # Where there is single sign-on, someone may have no password at all.

    def get_form(self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any) -> Any:
        without = {"form": AdminUserCreationForm} if obj is None and settings.OIDC_ISSUER else {}
        return super().get_form(request, obj, change=change, **{**without, **kwargs})

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        (head, who), *rest = super().get_fieldsets(request, obj)
        if obj is not None or not settings.OIDC_ISSUER:
            return [(head, who), *rest]
        return [(head, {**who, "fields": ("username", "email", "usable_password", "password1", "password2")}), *rest]

    # Only an administrator hands out power, or touches another administrator: a password set is an account taken.

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).select_related("second_factor").prefetch_related("memberships__tenant")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        facts = ["factor", "last_seen", "joined"] if obj else []
        kept = [] if _hands_out_power(request, obj) else POWERS
        above = [] if _is_superuser(request) and not _oneself(request, obj) else ABOVE_ROLES
        return facts + kept + above

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """A password set is an account taken: only who may hand out a power touches someone who has it."""
        above = obj is not None and (
            (obj.is_superuser and not _is_superuser(request))
            or (bool(obj.role or obj.places) and not _is_admin(request))
        )
        return not above and super().has_change_permission(request, obj)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"is_staff": True, "must_change_password": True, **super().get_changeform_initial_data(request)}

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field and db_field.name in WORDS:
            field.label, field.help_text = WORDS[db_field.name]
        return field

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Permissions over what the console shows, not over Django's own tables."""
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        if field and field.queryset is not None and db_field.name == "user_permissions":
            shown_models = [model._meta.model_name for model in self.admin_site._registry]
            own = {"content_type__app_label": "tenants", "content_type__model__in": shown_models}
            field.queryset = field.queryset.filter(**own).exclude(codename__startswith="delete_")
        return field

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        before = form.instance.granted()
        super().save_related(request, form, formsets, change)
        form.instance.tell_granted(before)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Sets a password that its owner must replace; one's own is changed on the page for that."""
        if id == str(request.user.pk):
            return HttpResponseRedirect(reverse("admin:password_change"))
        return super().user_change_password(request, id, form_url)

    @admin.display(description="name")
    def full_name(self, person: User) -> str:
        return person.get_full_name() or shown.NONE

    @admin.display(description="role", ordering="role")
    def may(self, person: User) -> SafeString | str:
        site = ["Superuser"] if person.is_superuser else [person.get_role_display()] if person.role else []
        found = [*site, *(str(membership) for membership in person.memberships.all())]
        if len(found) > 3:
            found = [*found[:2], f"and at {len(found) - 2} more tenants"]
        return shown.lines(found) if person.is_staff else "No access"

    @admin.display(description="status", ordering="is_active")
    def state(self, person: User) -> SafeString:
        if not person.is_active:
            return shown.pill("deactivated", "bad")
        return shown.pill("new password due", "wait") if person.must_change_password else shown.pill("active", "good")

    @admin.display(description="second factor")
    def factor(self, person: User) -> SafeString | str:
        return lost_factor.told(person)

    @admin.display(description="last sign-in", ordering="last_login")
    def last_seen(self, person: User) -> SafeString | str:
        return shown.ago(person.last_login, "never")

    @admin.display(description="added", ordering="date_joined")
    def joined(self, person: User) -> SafeString | str:
        return shown.stamp(person.date_joined)


def _is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))


def _is_admin(request: HttpRequest) -> bool:
    return _is_superuser(request) or getattr(request.user, "role", "") == Role.ADMIN


def _oneself(request: HttpRequest, person: User | None) -> bool:
    return person is not None and person.pk == request.user.pk


def _hands_out_power(request: HttpRequest, person: User | None) -> bool:
    """Administrators do, but not to themselves: nobody locks themselves out, or needs to."""
    return _is_admin(request) and not _oneself(request, person)
