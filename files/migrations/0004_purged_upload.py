import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("files", "0003_longer_idempotency_keys"),
    ]

    operations = [
        migrations.CreateModel(
            name="PurgedUpload",
            fields=[
                (
                    "file_version_id",
                    models.UUIDField(editable=False, primary_key=True, serialize=False),
                ),
                ("purged_at", models.DateTimeField(auto_now_add=True, db_index=True)),
                (
                    "device",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="files.userdevice",
                    ),
                ),
            ],
        ),
    ]
