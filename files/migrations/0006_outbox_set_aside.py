from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("files", "0005_damaged_versions"),
    ]

    operations = [
        migrations.AddField(
            model_name="outboxmessage",
            name="set_aside_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="outboxmessage",
            name="error",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
    ]
