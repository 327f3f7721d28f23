"""What people fill in on pages that are sent without JavaScript."""

from django import forms

from files.retention import MAX_DAYS, MIN_KEEP_ALL_DAYS


class RetentionForm(forms.Form):
    """How long replaced versions are kept; see `files.retention`."""

    keep_all_versions_days = forms.IntegerField(
        label="Keep every version for (days)",
        min_value=MIN_KEEP_ALL_DAYS,
        max_value=MAX_DAYS,
        help_text="Counted from when a newer version took its place.",
    )
    keep_daily_versions_days = forms.IntegerField(
        label="Then one version of each day, until it is this old (days)",
        min_value=0,
        max_value=MAX_DAYS,
        help_text="0 keeps none after that. The current version always stays.",
    )


class ActivityFilter(forms.Form):
    """What the activity page is narrowed to. Filled in by links, so nothing is explained."""

    file = forms.UUIDField(required=False)
    folder = forms.UUIDField(required=False)
    device = forms.UUIDField(required=False)
    cursor = forms.CharField(required=False, max_length=4096)
