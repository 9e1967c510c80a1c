// Vehicles as instanced quads. Positions stay integers until the view's centre is subtracted:
// 2^-32 of the world is 9 mm, and a float would round it to metres.

export const VERTEX = `#version 300 es
precision highp float;
precision highp int;
layout(location = 0) in uvec4 a_place;  // from x, y; to x, y
layout(location = 1) in vec2 a_glide;   // start and length of the way between them, ms
layout(location = 2) in uvec2 a_turn;   // heading from, to; 2^16 a turn
layout(location = 3) in uvec4 a_look;   // class, flags, speed, marks
uniform uvec2 u_centre;
uniform float u_now;
uniform float u_px_per_unit;
uniform float u_px_per_m;
uniform float u_least_px;
uniform vec2 u_size;
uniform vec3 u_colour[9];
uniform vec2 u_metres[9];
out vec2 v_at;          // px from the body's middle, y ahead
flat out vec2 v_half;   // half width and length, px
flat out vec3 v_colour;
flat out uint v_flags;
flat out uint v_marks;

void main() {
  float t = clamp((u_now - a_glide.x) / a_glide.y, 0.0, 1.0);
  vec2 from = vec2(ivec2(a_place.xy - u_centre));
  vec2 to = vec2(ivec2(a_place.zw - u_centre));
  vec2 place = mix(from, to, t) * u_px_per_unit;
  float turned = float(int(a_turn.y) - int(a_turn.x)) / 65536.0;
  turned -= floor(turned + 0.5);
  float heading = (float(a_turn.x) / 65536.0 + turned * t) * 6.28318530718;
  uint kind = min(a_look.x, 8u);
  vec2 metres = u_metres[kind];
  float long_px = max(metres.y * u_px_per_m, u_least_px * (0.75 + 0.055 * metres.y));
  float wide_px = max(metres.x * u_px_per_m, u_least_px * 0.55);
  v_half = 0.5 * vec2(wide_px, long_px);
  v_flags = a_look.y;
  v_marks = a_look.w;
  v_colour = u_colour[kind];
  vec2 corner = vec2(float(gl_VertexID & 1), float(gl_VertexID >> 1)) * 2.0 - 1.0;
  float margin = (a_look.w & 1u) == 1u ? 7.0 : 2.0;
  v_at = corner * (v_half + margin);
  if ((v_flags & 32u) == 32u) heading = 0.0;
  vec2 ahead = vec2(sin(heading), -cos(heading));
  vec2 right = vec2(-ahead.y, ahead.x);
  // The position is the middle of the front bumper: the body lies behind it.
  vec2 centre = place - ahead * v_half.y * ((v_flags & 32u) == 32u ? 0.0 : 1.0);
  vec2 at = centre + right * v_at.x + ahead * v_at.y;
  gl_Position = vec4(at.x / u_size.x * 2.0, -at.y / u_size.y * 2.0, 0.0, 1.0);
}`;

// From afar a vehicle is one point with an arrow in it. Without a graphics card an instance costs
// 34 us of CPU whatever its shape, which is 0.7 s for a picture of 20,000; a point costs 2.
export const FAR_VERTEX = `#version 300 es
precision highp float;
precision highp int;
layout(location = 0) in uvec4 a_place;
layout(location = 1) in vec2 a_glide;
layout(location = 2) in uvec2 a_turn;
layout(location = 3) in uvec4 a_look;
uniform uvec2 u_centre;
uniform float u_now;
uniform float u_px_per_unit;
uniform float u_px_per_m;
uniform float u_least_px;
uniform float u_ratio;
uniform vec2 u_size;
uniform vec3 u_colour[9];
uniform vec2 u_metres[9];
flat out vec3 v_colour;
flat out vec2 v_ahead;
flat out float v_wide;

void main() {
  float t = clamp((u_now - a_glide.x) / a_glide.y, 0.0, 1.0);
  vec2 from = vec2(ivec2(a_place.xy - u_centre));
  vec2 to = vec2(ivec2(a_place.zw - u_centre));
  vec2 place = mix(from, to, t) * u_px_per_unit;
  float heading = float(a_turn.y) * (6.28318530718 / 65536.0);
  uint kind = min(a_look.x, 8u);
  float long_px = max(u_metres[kind].y * u_px_per_m, u_least_px * (0.85 + 0.04 * u_metres[kind].y));
  vec2 ahead = vec2(sin(heading), -cos(heading));
  vec2 at = place - ahead * 0.5 * long_px;
  v_ahead = 2.0 * ahead;
  v_wide = 0.68 * u_least_px / long_px;
  v_colour = (a_look.y & 16u) == 16u ? mix(u_colour[kind], vec3(1.0, 0.16, 0.16), 0.75) : u_colour[kind];
  gl_PointSize = long_px * u_ratio;
  gl_Position = vec4(at.x / u_size.x * 2.0, -at.y / u_size.y * 2.0, 0.0, 1.0);
}`;

export const FAR_FRAGMENT = `#version 300 es
precision mediump float;
flat in vec3 v_colour;
flat in vec2 v_ahead;
flat in float v_wide;
out vec4 o_colour;
void main() {
  vec2 at = gl_PointCoord - 0.5;
  float along = dot(at, v_ahead);  // -1 at the tail, 1 at the tip
  float aside = abs(dot(at, vec2(-v_ahead.y, v_ahead.x)));
  if (along < -1.0 || aside > v_wide * min(1.0, 1.0 - along)) discard;
  o_colour = vec4(v_colour, 1.0);
}`;

export const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
in vec2 v_at;
flat in vec2 v_half;
flat in vec3 v_colour;
flat in uint v_flags;
flat in uint v_marks;
uniform vec3 u_edge;
uniform vec3 u_mark;
out vec4 o_colour;

float body(vec2 at, vec2 half_size) {
  if ((v_flags & 32u) == 32u) return length(at) - half_size.x * 1.25;
  float large = smoothstep(5.0, 14.0, half_size.y);
  float ahead = smoothstep(mix(-0.2, 0.55, large), 1.0, at.y / half_size.y);
  float half_wide = half_size.x * (1.0 - mix(0.92, 0.3, large) * ahead);
  float corner = min(half_wide, half_size.y) * 0.25 * large;
  vec2 d = abs(at) - vec2(half_wide, half_size.y) + corner;
  return length(max(d, 0.0)) + min(max(d.x, d.y), 0.0) - corner;
}

void main() {
  float d = body(v_at, v_half);
  bool is_marked = (v_marks & 1u) == 1u;
  float rim = v_half.y > 3.5 ? 1.2 : 0.6;
  float fill = 1.0 - smoothstep(-0.5, 0.5, d);
  float edge = 1.0 - smoothstep(rim - 0.5, rim + 0.5, d);
  vec3 colour = v_colour;
  float ahead = v_at.y / v_half.y;
  if (v_half.y > 9.0 && (v_flags & 32u) == 0u) {
    float glass = step(0.18, ahead) * step(ahead, 0.5) * step(abs(v_at.x), v_half.x * 0.72);
    colour = mix(colour, u_edge, glass * 0.55);
  }
  if ((v_flags & 16u) == 16u && ahead < (v_half.y > 9.0 ? -0.8 : -0.45)) colour = vec3(1.0, 0.16, 0.16);
  vec3 shown = mix(u_edge, colour, fill);
  float alpha = edge;
  if ((v_flags & 64u) == 64u) {  // perceived: an outline, for nobody told who it is
    float inside = 1.0 - smoothstep(-2.0, -1.0, d);
    shown = mix(u_edge, v_colour, max(fill, 0.6));
    alpha = edge * mix(1.0, 0.28, inside);
  }
  if (is_marked) {
    float ring = 1.0 - smoothstep(0.8, 1.8, abs(d - 4.2));
    shown = mix(shown, u_mark, ring);
    alpha = max(alpha, ring);
  }
  if (alpha < 0.01) discard;
  o_colour = vec4(shown * alpha, alpha);
}`;
