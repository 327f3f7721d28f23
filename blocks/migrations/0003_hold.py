import drive_project.common.ids
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("blocks", "0002_pack_rewriting"),
    ]

    operations = [
        migrations.CreateModel(
            name="Hold",
            fields=[
                (
                    "hold_id",
                    models.UUIDField(
                        default=drive_project.common.ids.new_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("reason", models.CharField(max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField(db_index=True)),
            ],
        ),
    ]
