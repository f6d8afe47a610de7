"""Short keys of Home Assistant's discovery -> long ones: those that are read here.

Source: https://www.home-assistant.io/integrations/mqtt/#supported-abbreviations-in-mqtt-discovery-messages
"""

from __future__ import annotations

KEYS: dict[str, str] = {
    "act_t": "action_topic", "act_tpl": "action_template", "atype": "automation_type",
    "avty": "availability", "avty_mode": "availability_mode", "avty_t": "availability_topic",
    "avty_tpl": "availability_template", "bri_cmd_t": "brightness_command_topic", "bri_scl": "brightness_scale",
    "bri_stat_t": "brightness_state_topic", "bri_val_tpl": "brightness_value_template", "clrm_stat_t":
    "color_mode_state_topic", "clr_temp_cmd_t": "color_temp_command_topic", "clr_temp_stat_t": "color_temp_state_topic",
    "clr_temp_val_tpl": "color_temp_value_template", "cmd_t": "command_topic", "cmd_tpl": "command_template",
    "cod_arm_req": "code_arm_required", "cod_dis_req": "code_disarm_required", "cont_type": "content_type",
    "curr_hum_t": "current_humidity_topic", "curr_hum_tpl": "current_humidity_template",
    "curr_temp_t": "current_temperature_topic", "curr_temp_tpl": "current_temperature_template",
    "cmps": "components", "dev": "device", "dev_cla": "device_class", "en": "enabled_by_default",
    "ent_cat": "entity_category", "evt_typ": "event_types", "exp_aft": "expire_after",
    "fan_mode_stat_t": "fan_mode_state_topic", "fan_mode_stat_tpl": "fan_mode_state_template",
    "hum_state_tpl": "target_humidity_state_template", "img_e": "image_encoding", "img_t": "image_topic",
    "json_attr_t": "json_attributes_topic", "max_temp": "max_temp", "min_temp": "min_temp", "max": "max", "min": "min",
    "mode_cmd_t": "mode_command_topic", "mode_cmd_tpl": "mode_command_template", "mode_stat_t": "mode_state_topic",
    "mode_stat_tpl": "mode_state_template", "o": "origin", "obj_id": "object_id", "ops": "options", "p": "platform",
    "pl_arm_away": "payload_arm_away", "pl_arm_home": "payload_arm_home", "pl_arm_nite": "payload_arm_night",
    "pl_avail": "payload_available", "pl_cls": "payload_close", "pl_disarm": "payload_disarm", "pl_lock":
    "payload_lock", "pl_not_avail": "payload_not_available", "pl_off": "payload_off", "pl_on": "payload_on",
    "pl_open": "payload_open", "pl_prs": "payload_press", "pl_stop": "payload_stop", "pl_unlk": "payload_unlock",
    "pos_clsd": "position_closed", "pos_open": "position_open", "pos_t": "position_topic",
    "pos_tpl": "position_template", "pr_mode_cmd_t": "preset_mode_command_topic", "pr_mode_stat_t":
    "preset_mode_state_topic", "pr_mode_val_tpl": "preset_mode_value_template", "pr_modes": "preset_modes",
    "set_pos_t": "set_position_topic", "set_pos_tpl": "set_position_template", "stat_cla": "state_class",
    "stat_clsd": "state_closed", "stat_closing": "state_closing", "stat_jam": "state_jammed", "stat_locked":
    "state_locked", "stat_locking": "state_locking", "stat_off": "state_off", "stat_on": "state_on",
    "stat_open": "state_open", "stat_opening": "state_opening", "stat_stopped": "state_stopped", "stat_t":
    "state_topic", "stat_tpl": "state_template", "stat_unlocked": "state_unlocked", "stat_unlocking":
    "state_unlocking", "stat_val_tpl": "state_value_template", "t": "topic", "temp_cmd_t":
    "temperature_command_topic", "temp_cmd_tpl": "temperature_command_template", "temp_hi_cmd_t":
    "temperature_high_command_topic", "temp_hi_stat_t": "temperature_high_state_topic", "temp_hi_stat_tpl":
    "temperature_high_state_template", "temp_lo_cmd_t": "temperature_low_command_topic", "temp_lo_stat_t":
    "temperature_low_state_topic", "temp_lo_stat_tpl": "temperature_low_state_template", "temp_stat_t":
    "temperature_state_topic", "temp_stat_tpl": "temperature_state_template", "temp_unit": "temperature_unit",
    "uniq_id": "unique_id", "unit_of_meas": "unit_of_measurement", "url_t": "url_topic", "val_tpl": "value_template",
}  # fmt: skip

DEVICE_KEYS: dict[str, str] = {
    "ids": "identifiers", "cns": "connections", "mf": "manufacturer", "mdl": "model", "mdl_id": "model_id",
    "sn": "serial_number",
}  # fmt: skip
