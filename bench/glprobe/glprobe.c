/* SPDX-License-Identifier: MIT */
/*
 * pvgpu-glprobe [draw FILE] [upload] [readback] [roundtrip] [info]: what an OpenGL ES 3 without a window does, one line
 * of JSON for each. draw writes a picture of triangles, textures and blending as PPM. Exit code 1: something failed.
 */
#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <GL/glcorearb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SIDE        1024
#define SAMPLES     7
#define SAMPLE_NS   400000000.0
#define ROUND_TRIPS 400

/* GL functions, without a library of them to link. */
#define FUNCTIONS(X)                                                                                                   \
	X(PFNGLGETSTRINGPROC, GetString)                                                                               \
	X(PFNGLGETERRORPROC, GetError)                                                                                 \
	X(PFNGLFINISHPROC, Finish)                                                                                     \
	X(PFNGLGENTEXTURESPROC, GenTextures)                                                                           \
	X(PFNGLBINDTEXTUREPROC, BindTexture)                                                                           \
	X(PFNGLTEXIMAGE2DPROC, TexImage2D)                                                                             \
	X(PFNGLTEXSUBIMAGE2DPROC, TexSubImage2D)                                                                       \
	X(PFNGLTEXPARAMETERIPROC, TexParameteri)                                                                       \
	X(PFNGLGENFRAMEBUFFERSPROC, GenFramebuffers)                                                                   \
	X(PFNGLBINDFRAMEBUFFERPROC, BindFramebuffer)                                                                   \
	X(PFNGLFRAMEBUFFERTEXTURE2DPROC, FramebufferTexture2D)                                                         \
	X(PFNGLCHECKFRAMEBUFFERSTATUSPROC, CheckFramebufferStatus)                                                     \
	X(PFNGLREADPIXELSPROC, ReadPixels)                                                                             \
	X(PFNGLCLEARCOLORPROC, ClearColor)                                                                             \
	X(PFNGLCLEARPROC, Clear)                                                                                       \
	X(PFNGLVIEWPORTPROC, Viewport)                                                                                 \
	X(PFNGLENABLEPROC, Enable)                                                                                     \
	X(PFNGLDISABLEPROC, Disable)                                                                                   \
	X(PFNGLSCISSORPROC, Scissor)                                                                                   \
	X(PFNGLBLENDFUNCPROC, BlendFunc)                                                                               \
	X(PFNGLCREATESHADERPROC, CreateShader)                                                                         \
	X(PFNGLSHADERSOURCEPROC, ShaderSource)                                                                         \
	X(PFNGLCOMPILESHADERPROC, CompileShader)                                                                       \
	X(PFNGLCREATEPROGRAMPROC, CreateProgram)                                                                       \
	X(PFNGLATTACHSHADERPROC, AttachShader)                                                                         \
	X(PFNGLLINKPROGRAMPROC, LinkProgram)                                                                           \
	X(PFNGLGETPROGRAMIVPROC, GetProgramiv)                                                                         \
	X(PFNGLUSEPROGRAMPROC, UseProgram)                                                                             \
	X(PFNGLGETUNIFORMLOCATIONPROC, GetUniformLocation)                                                             \
	X(PFNGLUNIFORM1FPROC, Uniform1f)                                                                               \
	X(PFNGLGENVERTEXARRAYSPROC, GenVertexArrays)                                                                   \
	X(PFNGLBINDVERTEXARRAYPROC, BindVertexArray)                                                                   \
	X(PFNGLDRAWARRAYSPROC, DrawArrays)                                                                             \
	X(PFNGLDRAWARRAYSINSTANCEDPROC, DrawArraysInstanced)

#define DECLARE(type, name) static type gl##name##_;
FUNCTIONS(DECLARE)
#define GL(name) gl##name##_

static const char *const vertex_text = "#version 300 es\n"
				       "uniform float turn; out vec2 at; flat out int which;\n"
				       "void main() {\n"
				       "  float a = turn + float(gl_VertexID) * 2.0944 + float(gl_InstanceID) * 0.7;\n"
				       "  float r = 0.95 - float(gl_InstanceID) * 0.06;\n"
				       "  at = vec2(cos(a), sin(a)) * 0.5 + 0.5; which = gl_InstanceID;\n"
				       "  gl_Position = vec4(cos(a) * r, sin(a) * r, 0.0, 1.0);\n"
				       "}\n";
static const char *const fragment_text =
    "#version 300 es\n"
    "precision highp float; uniform sampler2D image; in vec2 at; flat in int which; out vec4 colour;\n"
    "void main() {\n"
    "  vec3 tint = vec3(float(which & 1), float((which >> 1) & 1), float((which >> 2) & 1)) * 0.6 + 0.2;\n"
    "  colour = vec4(texture(image, at).rgb * tint + tint * 0.25, 0.6);\n"
    "}\n";

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static bool fail(const char *what)
{
	fprintf(stderr, "pvgpu-glprobe: %s\n", what);
	return false;
}

static bool start(void)
{
	static const EGLint config_words[] = {EGL_RENDERABLE_TYPE, EGL_OPENGL_ES3_BIT, EGL_SURFACE_TYPE, 0, EGL_NONE};
	static const EGLint context_words[] = {EGL_CONTEXT_MAJOR_VERSION, 3, EGL_NONE};
	PFNEGLGETPLATFORMDISPLAYEXTPROC get_display =
	    (PFNEGLGETPLATFORMDISPLAYEXTPROC)eglGetProcAddress("eglGetPlatformDisplayEXT");
	EGLDisplay display = get_display ? get_display(EGL_PLATFORM_SURFACELESS_MESA, NULL, NULL) : EGL_NO_DISPLAY;
	EGLConfig config;
	EGLContext context;
	EGLint count;

	if (!display || !eglInitialize(display, NULL, NULL) || !eglBindAPI(EGL_OPENGL_ES_API))
		return fail("no EGL without a window");
	if (!eglChooseConfig(display, config_words, &config, 1, &count) || count < 1)
		config = EGL_NO_CONFIG_KHR;
	context = eglCreateContext(display, config, EGL_NO_CONTEXT, context_words);
	if (!context || !eglMakeCurrent(display, EGL_NO_SURFACE, EGL_NO_SURFACE, context))
		return fail("no OpenGL ES 3 context");
#define LOAD(type, name)                                                                                               \
	gl##name##_ = (type)eglGetProcAddress("gl" #name);                                                             \
	if (!gl##name##_)                                                                                              \
		return fail("a function is missing: gl" #name);
	FUNCTIONS(LOAD)
	return true;
}

static GLuint make_texture(const void *pixels, GLint filter)
{
	GLuint texture;

	GL(GenTextures)(1, &texture);
	GL(BindTexture)(GL_TEXTURE_2D, texture);
	GL(TexImage2D)(GL_TEXTURE_2D, 0, GL_RGBA8, SIDE, SIDE, 0, GL_RGBA, GL_UNSIGNED_BYTE, pixels);
	GL(TexParameteri)(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, filter);
	GL(TexParameteri)(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, filter);
	return texture;
}

static bool make_target(void)
{
	GLuint texture = make_texture(NULL, GL_NEAREST), framebuffer;

	GL(GenFramebuffers)(1, &framebuffer);
	GL(BindFramebuffer)(GL_FRAMEBUFFER, framebuffer);
	GL(FramebufferTexture2D)(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, texture, 0);
	GL(Viewport)(0, 0, SIDE, SIDE);
	return GL(CheckFramebufferStatus)(GL_FRAMEBUFFER) == GL_FRAMEBUFFER_COMPLETE || fail("no framebuffer");
}

static bool make_program(void)
{
	const GLuint program = GL(CreateProgram)();
	const char *const texts[] = {vertex_text, fragment_text};
	GLuint vertices;
	GLint linked = 0;

	for (int i = 0; i < 2; i++) {
		GLuint shader = GL(CreateShader)(i ? GL_FRAGMENT_SHADER : GL_VERTEX_SHADER);

		GL(ShaderSource)(shader, 1, &texts[i], NULL);
		GL(CompileShader)(shader);
		GL(AttachShader)(program, shader);
	}
	GL(LinkProgram)(program);
	GL(GetProgramiv)(program, GL_LINK_STATUS, &linked);
	if (!linked)
		return fail("the shaders do not link");
	GL(UseProgram)(program);
	GL(Uniform1f)(GL(GetUniformLocation)(program, "turn"), 0.3f);
	GL(GenVertexArrays)(1, &vertices);
	GL(BindVertexArray)(vertices);
	return true;
}

static uint8_t *make_pixels(void)
{
	uint8_t *pixels = malloc(SIDE * SIDE * 4);

	for (int i = 0; pixels && i < SIDE * SIDE; i++) {
		int x = i % SIDE, y = i / SIDE;

		pixels[4 * i] = (uint8_t)(x / 4);
		pixels[4 * i + 1] = (uint8_t)(y / 4);
		pixels[4 * i + 2] = (uint8_t)((x / 64 + y / 64) % 2 * 255);
		pixels[4 * i + 3] = 255;
	}
	return pixels;
}

static bool draw(const char *path, uint8_t *pixels)
{
	FILE *file = fopen(path, "wb");

	if (!file)
		return fail("the picture cannot be written");
	if (!make_target() || !make_program()) {
		fclose(file);
		return false;
	}
	(void)make_texture(pixels, GL_LINEAR);
	GL(ClearColor)(0.2f, 0.3f, 0.4f, 1.0f);
	GL(Clear)(GL_COLOR_BUFFER_BIT);
	GL(Enable)(GL_BLEND);
	GL(BlendFunc)(GL_SRC_ALPHA, GL_ONE_MINUS_SRC_ALPHA);
	GL(DrawArraysInstanced)(GL_TRIANGLES, 0, 3, 8);
	GL(Disable)(GL_BLEND);
	/* Which way is up. */
	GL(Enable)(GL_SCISSOR_TEST);
	GL(Scissor)(0, 0, 100, 50);
	GL(ClearColor)(1.0f, 0.0f, 0.0f, 1.0f);
	GL(Clear)(GL_COLOR_BUFFER_BIT);
	GL(Disable)(GL_SCISSOR_TEST);
	GL(ReadPixels)(0, 0, SIDE, SIDE, GL_RGBA, GL_UNSIGNED_BYTE, pixels);
	fprintf(file, "P6\n%d %d\n255\n", SIDE, SIDE);
	for (int i = 0; i < SIDE * SIDE; i++)
		fwrite(pixels + 4 * i, 1, 3, file);
	bool written = fclose(file) == 0;
	return GL(GetError)() == GL_NO_ERROR ? written : fail("OpenGL reports an error");
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

/* MB/s of whole textures. */
static bool measure_copies(const char *name, void (*copy)(uint8_t *pixels), uint8_t *pixels)
{
	double rates[SAMPLES];

	copy(pixels);
	for (int i = 0; i < SAMPLES; i++) {
		double began = now_ns(), bytes = 0;

		do {
			copy(pixels);
			bytes += SIDE * SIDE * 4.0;
		} while (now_ns() - began < SAMPLE_NS);
		rates[i] = bytes / (now_ns() - began) * 1e3;
	}
	printf("{\"name\": \"%s\", \"median\": %.1f}\n", name, median(rates, SAMPLES));
	fflush(stdout);
	return GL(GetError)() == GL_NO_ERROR || fail("OpenGL reports an error");
}

static void upload(uint8_t *pixels)
{
	GL(TexSubImage2D)(GL_TEXTURE_2D, 0, 0, 0, SIDE, SIDE, GL_RGBA, GL_UNSIGNED_BYTE, pixels);
	GL(Finish)();
}

static void read_back(uint8_t *pixels)
{
	GL(ReadPixels)(0, 0, SIDE, SIDE, GL_RGBA, GL_UNSIGNED_BYTE, pixels);
}

static bool round_trip(void)
{
	static double times[ROUND_TRIPS];

	GL(Enable)(GL_SCISSOR_TEST);
	GL(Scissor)(0, 0, 1, 1);
	for (int i = 0; i < ROUND_TRIPS; i++) {
		double began = now_ns();

		GL(Clear)(GL_COLOR_BUFFER_BIT);
		GL(Finish)();
		times[i] = (now_ns() - began) / 1e3;
	}
	GL(Disable)(GL_SCISSOR_TEST);
	printf("{\"name\": \"roundtrip\", \"median\": %.1f}\n", median(times, ROUND_TRIPS));
	return GL(GetError)() == GL_NO_ERROR || fail("OpenGL reports an error");
}

static bool run(int argc, char **argv, uint8_t *pixels)
{
	for (int i = 1; i < argc; i++) {
		bool good;

		if (strcmp(argv[i], "draw") == 0 && i + 1 < argc)
			good = draw(argv[++i], pixels);
		else if (strcmp(argv[i], "upload") == 0)
			good = make_texture(pixels, GL_NEAREST) && measure_copies("upload", upload, pixels);
		else if (strcmp(argv[i], "readback") == 0)
			good = make_target() && measure_copies("readback", read_back, pixels);
		else if (strcmp(argv[i], "roundtrip") == 0)
			good = make_target() && round_trip();
		else if (strcmp(argv[i], "info") == 0)
			good = printf("{\"name\": \"info\", \"renderer\": \"%s\", \"version\": \"%s\"}\n",
				      GL(GetString)(GL_RENDERER), GL(GetString)(GL_VERSION)) > 0;
		else
			good = fail("there are draw FILE, upload, readback, roundtrip and info");
		if (!good)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	uint8_t *pixels = make_pixels();
	bool good = pixels && start() && run(argc, argv, pixels);

	free(pixels);
	return good ? 0 : 1;
}
