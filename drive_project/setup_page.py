"""The page behind the one-time setup link: it makes the first administrator."""

from typing import Any

from django import forms
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from drive_project import setup_code
from drive_project.common.errors import InvalidRequest
from files.models import User
from files.services.accounts import create_user
from files.web.accounts import name_browser


class AdministratorForm(forms.Form):
    """Address and password; what they must be is decided by `create_user`."""

    email = forms.EmailField(
        label="E-mail address",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        max_length=1_000,
        help_text="At least 8 characters; a few random words are best.",
        widget=forms.PasswordInput(
            attrs={"autocomplete": "new-password"},
            # Kept where another field was refused: nobody likes to type it four times.
            render_value=True,
        ),
    )
    repeat = forms.CharField(
        label="Password again",
        strip=False,
        max_length=1_000,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}, render_value=True),
    )

    def clean(self) -> dict[str, Any]:
        fields: dict[str, Any] = super().clean() or {}
        password, repeat = fields.get("password"), fields.get("repeat")
        if password and repeat and password != repeat:
            self.add_error("repeat", "The two passwords differ.")
        return fields


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def setup(request: HttpRequest, code: str) -> HttpResponse:
    """/setup/CODE: the form, and the account. The link ends with the first administrator."""
    if not setup_code.is_valid(code):
        return render(request, "web/setup_closed.html", status=404)
    form = AdministratorForm(request.POST or None)
    user = _create(form, code) if request.method == "POST" and form.is_valid() else None
    if user is not None:
        login(request, user, backend="allauth.account.auth_backends.AuthenticationBackend")
        name_browser(request, user)
        return redirect("web:root")
    if request.method == "POST" and not form.errors:
        # Somebody else was quicker with the same link.
        return render(request, "web/setup_closed.html", status=404)
    return render(request, "web/setup.html", {"form": form})


def _create(form: AdministratorForm, code: str) -> User | None:
    """The administrator; None with errors in the form, or where the link was just used."""
    with setup_code.claimed(code) as is_valid:
        if not is_valid:
            return None
        try:
            return create_user(
                email=form.cleaned_data["email"],
                password=form.cleaned_data["password"],
                is_staff=True,
                quota_bytes=None,
            )
        except InvalidRequest as error:
            for field, messages in error.extra["errors"].items():
                for message in messages:
                    form.add_error(field, message)
            return None
